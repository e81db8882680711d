// Memory of one call, where the caller's does not do; nothing is allocated once the time loop runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

#include "cpu/slots.h"
#include "lstmcore/lstm.h"

namespace lstmcore {
namespace cpu {

template <class T>
class Scratch {
 public:
  T* zeros;            // [max(H, P)]: the initial state, where none is given
  T* unprojected;      // [N, H]: h before the projection
  T* hidden;           // [2, N, P]: h of alternate steps, where the caller does not want all of them
  T* z;                // [z_rows, panels, 4, lanes]
  SlotRow* slot_rows;  // [N], of a ragged batch
  Slot* slots;         // [N] at most, of a ragged batch

  // Throws std::bad_alloc, also where a size overflows.
  Scratch(const ForwardArgs<T>& args, const LstmSpec& spec, std::int64_t z_size) {
    const std::int64_t N = args.batch, H = spec.num_units, P = spec.output_size();
    const std::int64_t widest = H > P ? H : P;
    // Once to add up the sizes, once to cut the memory.
    for (const bool cut : {false, true}) {
      std::byte* const memory = cut ? reserve(args.workspace) : nullptr;
      bytes_ = 0;
      zeros = take<T>(memory, args.h0 && args.c0 ? 0 : widest);
      unprojected = take<T>(memory, spec.num_proj ? product(N, H) : 0);
      hidden = take<T>(memory, args.y ? 0 : product(2 * N, P));
      z = take<T>(memory, z_size);
      slot_rows = take<SlotRow>(memory, args.lengths || args.offsets ? N : 0);
      slots = take<Slot>(memory, args.lengths || args.offsets ? N : 0);
    }
    if (zeros)
      for (std::int64_t k = 0; k < widest; ++k) zeros[k] = 0;
  }

 private:
  static std::int64_t product(std::int64_t a, std::int64_t b) {
    std::int64_t ab;
    if (__builtin_mul_overflow(a, b, &ab)) throw std::bad_alloc();
    return ab;
  }

  std::byte* reserve(Workspace* workspace) {
    if (bytes_ == 0) return nullptr;
    return static_cast<std::byte*>((workspace ? *workspace : own_).reserve(bytes_));
  }

  template <class U>
  U* take(std::byte* memory, std::int64_t n) {
    constexpr std::size_t kLine = 64;
    if (n == 0) return nullptr;
    const std::size_t begin = bytes_;
    std::size_t size;
    if (__builtin_mul_overflow(static_cast<std::size_t>(n), sizeof(U), &size) ||
        __builtin_add_overflow(begin, size, &bytes_) || bytes_ > SIZE_MAX / 2)
      throw std::bad_alloc();
    bytes_ = (bytes_ + kLine - 1) / kLine * kLine;
    return memory ? reinterpret_cast<U*>(memory + begin) : nullptr;
  }

  Workspace own_;
  std::size_t bytes_ = 0;
};

}  // namespace cpu
}  // namespace lstmcore
