// Memory of one call, where the caller's does not do; nothing is allocated once the time loop runs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "cpu/slots.h"
#include "lstmcore/lstm.h"
#include "workspace.h"

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

  // Throws std::bad_alloc.
  Scratch(const ForwardArgs<T>& args, const LstmSpec& spec, std::int64_t z_size) {
    if (const std::size_t bytes = lay_out(args, spec, z_size, nullptr))
      lay_out(args, spec, z_size, (args.workspace ? *args.workspace : borrowed_.get()).reserve(bytes));
    if (zeros) std::fill_n(zeros, widest(spec), T(0));
  }

  static std::size_t bytes(const ForwardArgs<T>& args, const LstmSpec& spec, std::int64_t z_size) {
    return Scratch().lay_out(args, spec, z_size, nullptr);
  }

 private:
  Scratch() = default;

  static std::int64_t widest(const LstmSpec& spec) { return std::max(spec.num_units, spec.output_size()); }

  // Cuts `memory`, where there is any; returns how many bytes it takes. The products do not overflow
  // (Lstm::forward).
  std::size_t lay_out(const ForwardArgs<T>& args, const LstmSpec& spec, std::int64_t z_size, void* memory) {
    const std::int64_t N = args.batch, H = spec.num_units, P = spec.output_size();
    std::size_t end = 0;
    take(memory, end, zeros, args.h0 && args.c0 ? 0 : widest(spec));
    take(memory, end, unprojected, spec.num_proj ? N * H : 0);
    take(memory, end, hidden, args.y ? 0 : 2 * N * P);
    take(memory, end, z, z_size);
    take(memory, end, slot_rows, args.lengths || args.offsets ? N : 0);
    take(memory, end, slots, args.lengths || args.offsets ? N : 0);
    return end;
  }

  template <class U>
  static void take(void* memory, std::size_t& end, U*& array, std::int64_t size) {
    constexpr std::size_t kLine = 64;
    array = memory && size ? reinterpret_cast<U*>(static_cast<std::byte*>(memory) + end) : nullptr;
    end += (static_cast<std::size_t>(size) * sizeof(U) + kLine - 1) / kLine * kLine;
  }

  BorrowedWorkspace borrowed_;
};

}  // namespace cpu
}  // namespace lstmcore
