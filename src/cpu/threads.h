// How many threads a call gets, and what each of them does.
#pragma once

#include <cstdint>

namespace lstmcore {
namespace cpu {

enum class Split { rows, units };

struct ThreadPlan {
  int threads;
  Split split;
};

// Cost rule, from the multiply-adds of the call. Splitting rows needs no waiting, so it is preferred where
// each thread gets a full register tile; splitting units waits at each step. Small work stays on the
// caller's thread.
ThreadPlan plan_threads(int limit, double multiply_adds, std::int64_t steps, std::int64_t rows,
                        std::int64_t tile_rows, std::int64_t panels);

// After a fork the child has none of its parent's threads, and starts none: num_threads() is 1.
bool in_forked_child();
int num_threads_but_for_fork();
bool take_serial_notice();  // true once in every forked child

// Whether a call is large enough for two threads at least.
bool worth_threads(double multiply_adds);

// The k-th of n nearly equal parts of [0, size) begins here.
inline std::int64_t part_begin(std::int64_t size, int k, int n) { return size * k / n; }

}  // namespace cpu
}  // namespace lstmcore
