// What this machine can do, measured: the yardstick of the other benchmarks. Best of several passes, float32.
#pragma once

#include <cstddef>

namespace lstmcore {
namespace bench {

// Operations per second of fused multiply-adds in registers, at the ISA level in use, by so many threads.
double peak(int threads);

// Bytes per second that so many threads read, each its own `bytes` again and again.
double bandwidth(int threads, std::size_t bytes);

// Seconds below which nothing gets with N rows, I inputs and H units. A step: its multiply-adds at peak, or
// its weights read once. A sequence of T steps: the input projection of all steps at once, then the recurrent
// part T times.
double step_floor(int threads, double N, double I, double H);
double sequence_floor(int threads, double T, double N, double I, double H);

}  // namespace bench
}  // namespace lstmcore
