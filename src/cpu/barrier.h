// A barrier for the threads of one parallel region. Crossing it takes a fraction of a microsecond while every
// thread has a core; a thread that lost its core is waited for without burning the others' time slices.
#pragma once

#include <atomic>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lstmcore {
namespace cpu {

class SpinBarrier {
 public:
  // Every one of `team` threads calls this the same number of times.
  void wait(int team) {
    const unsigned phase = phase_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == team) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.store(phase + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; phase_.load(std::memory_order_acquire) == phase; ++spins) {
      if (spins < kSpins)
        pause();
      else
        std::this_thread::yield();
    }
  }

 private:
  static constexpr int kSpins = 2000;  // tens of microseconds
  static void pause() {
#if defined(__x86_64__)
    _mm_pause();
#else
    asm volatile("yield");
#endif
  }
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> phase_{0};
};

}  // namespace cpu
}  // namespace lstmcore
