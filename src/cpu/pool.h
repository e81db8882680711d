// The threads behind the kernels, and how those of one call share its work.
//
// A job is a number of phases, and a phase is cut into one share per thread. No phase begins before every
// share of the phase before is done. A share belongs to nobody: a thread claims its own first, then whatever
// others are slow to claim. The caller waits for shares that somebody is working on, and never for a thread:
// one that has lost its core holds up nothing but the share it is in, and one that wakes up late finds the
// job done. (The join of an OpenMP region waits for every thread of the team: with a busy process on one of
// two cores that took 7.6 ms where the work took 23 us, which is why there is none here.)
#pragma once

#include <cstdint>

namespace lstmcore {

class Interruption;

namespace cpu {

// Does one share of one phase. Called by any thread, with denormals flushed to zero; all writes of a phase
// are visible in the next.
using ShareFunction = void (*)(const void* job, std::int64_t phase, int share);

// Returns when all phases are done. `threads` is the number of shares of a phase; where other threads are not
// to be had (another caller uses them, or none can be started), the caller does them all. Once an
// interruption is requested no phase begins, and it returns when nobody is in a share any more.
void run_phases(int threads, std::int64_t phases, ShareFunction work, const void* job,
                Interruption* interruption = nullptr);

}  // namespace cpu
}  // namespace lstmcore
