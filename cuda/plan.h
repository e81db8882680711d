// Which path a call takes, and how a persistent kernel divides the work: host code that no CUDA header
// enters.
//
// A persistent kernel keeps the recurrent weights of `units` units (4 * units rows of gates) on each of
// `blocks` multiprocessors, for a group of `rows` batch rows. Its 8 warps form a grid of row tiles, 32 gate
// rows each, and slices of K = H:
//
//   units      8   16   32   64
//   row tiles  1    2    4    8      warp w: row tile w % row_tiles, slice w / row_tiles
//   slices     8    4    2    1      lane l: gate row 32 tile + l, that is unit row / 4, gate row % 4
//
// A thread's share is its gate row's weights over its slice, as 32-bit words: the first kRegisterWords in
// registers, the rest in shared memory.
#pragma once

#include <cstdint>
#include <vector>

#include "lstmcore/cuda_abi.h"

namespace lstmcore {
namespace cuda {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kRegisterWords = 128;
constexpr int kMaxRows = 8;  // batch rows of a group: 1, 4 or 8
constexpr std::size_t kExchangeLimit = std::size_t{64}
                                       << 20;  // bytes of h on its way between blocks, a launch

struct Tiling {
  int units = 0, row_tiles = 0, slices = 0;
  int slice_length = 0;  // weights of a gate row per slice, zeros at the end included
  int words = 0;         // 32-bit words per thread; a multiple of 8
  int blocks = 0;        // ceil(H / units)

  constexpr int padded_k() const { return slices * slice_length; }
  constexpr int shared_words() const { return words > kRegisterWords ? words - kRegisterWords : 0; }
  // Weights, two buffers of h, partial sums of the gates, barriers.
  std::size_t shared_bytes(int rows) const {
    return std::size_t(shared_words()) * kThreads * 4 + std::size_t(2) * rows * padded_k() * 4 +
           std::size_t(slices) * rows * 4 * units * 4 + 64;
  }
};

// `units` is 8, 16, 32 or 64; `weight_bytes` 2 or 4.
Tiling make_tiling(std::int64_t H, int units, int weight_bytes);

// R, [H, 4H] in gate order i, j, f, o, as the words of every block: [blocks][words / 4][kThreads][4].
// `dtype` is not float64.
std::vector<std::uint32_t> pack_recurrent(const Tiling& tiling, std::int64_t H, const float* R, int dtype);

// Throws Error for sizes or a path that cannot be; see lstmcore_cuda_plan.
lstmcore_cuda_plan make_plan(const lstmcore_cuda_device& device, const lstmcore_cuda_spec& spec,
                             std::int64_t steps, std::int64_t batch, int path);

inline std::size_t dtype_bytes(int dtype) {
  return dtype == LSTMCORE_CUDA_FLOAT64 ? 8 : dtype == LSTMCORE_CUDA_FLOAT32 ? 4 : 2;
}

}  // namespace cuda
}  // namespace lstmcore
