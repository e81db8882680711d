// Flushes denormals to zero for a scope: on many CPUs arithmetic on them is a hundred times slower, and long
// decays of a cell state run into them.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace lstmcore {
namespace cpu {

class FlushDenormals {
 public:
  FlushDenormals() : saved_(get()) { set(saved_ | kFlush); }
  ~FlushDenormals() { set(saved_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
#if defined(__x86_64__)
  using Register = std::uint32_t;
  static constexpr Register kFlush = 0x8040;  // MXCSR: flush to zero, denormals are zero
  static Register get() { return _mm_getcsr(); }
  static void set(Register value) { _mm_setcsr(value); }
#else
  using Register = std::uint64_t;
  static constexpr Register kFlush = 1u << 24;  // FPCR.FZ
  static Register get() {
    Register value;
    asm volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static void set(Register value) { asm volatile("msr fpcr, %0" : : "r"(value)); }
#endif
  Register saved_;
  friend class KeepDenormals;
};

// Within a FlushDenormals, where somebody else's code runs.
class KeepDenormals {
 public:
  KeepDenormals() : saved_(FlushDenormals::get()) { FlushDenormals::set(saved_ & ~FlushDenormals::kFlush); }
  ~KeepDenormals() { FlushDenormals::set(saved_); }
  KeepDenormals(const KeepDenormals&) = delete;
  KeepDenormals& operator=(const KeepDenormals&) = delete;

 private:
  FlushDenormals::Register saved_;
};

}  // namespace cpu
}  // namespace lstmcore
