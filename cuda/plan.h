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
// A thread's share is its gate row's weights over its slice, as 32-bit words: the first register_words in
// registers, the rest in shared memory.
//
// Two kernels divide the work so. That of fused multiply-adds has one gate row per lane. That of tensor cores
// (MMA) has R as the first factor, so that batch rows, 8 to a tile, are the columns. Rows of a 16 x 8 product
// are units of one gate, and two products make the four gates of 8 units:
//
//   product  rows 0-7  rows 8-15      lane l holds unit l / 4 of columns 2 (l % 4) and the next: all gates
//   0        i         j              of two cells, with no exchange between lanes
//   1        f         o
//
// In a row, h is words of the operand's type (two 16-bit values, or one of 32 bits). A chunk of 16 words is
// two products deep, and lane l reads its words 4 (l % 4) to 4 (l % 4) + 3 at once: the first two for the
// one, the others for the other. Any order of K will do that both factors share.
#pragma once

#include <cstdint>
#include <vector>

#include "lstmcore/cuda_abi.h"

namespace lstmcore {
namespace cuda {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kRegisterWords = 128;
constexpr int kMmaRegisterWords = 176;
constexpr int kMaxRows = 8;  // batch rows of a group: 1, 4 or 8
constexpr int kColumns = 8;  // of a product of tensor cores; a group has 1, 2 or 4 times these rows
constexpr int kChunkWords = 16;
constexpr std::size_t kExchangeLimit = std::size_t{64}
                                       << 20;  // bytes of h on its way between blocks, a launch

struct Tiling {
  bool mma = false;
  int units = 0, row_tiles = 0, slices = 0;
  int slice_length = 0;  // weights of a gate row per slice, zeros at the end included
  int words = 0;         // 32-bit words per thread; a multiple of 8
  int register_words = 0;
  int blocks = 0;    // ceil(H / units)
  int h_words = 0;   // of a row of h
  int h_stride = 0;  // words from row to row in shared memory, zeros at the end included

  constexpr int padded_k() const { return slices * slice_length; }
  constexpr int shared_words() const { return words > register_words ? words - register_words : 0; }
  // Cells that a thread of the MMA kernel finishes in a step, one after the other.
  constexpr int cells(int rows) const { return (2 * rows / kColumns + slices - 1) / slices; }
  // Weights, two buffers of h, partial sums of the gates, what belongs to a thread's cells, barriers.
  std::size_t shared_bytes(int rows) const {
    return std::size_t(shared_words()) * kThreads * 4 + std::size_t(2) * rows * h_stride * 4 +
           std::size_t(slices) * rows * 4 * units * 4 + (mma ? std::size_t(cells(rows)) * kThreads * 24 : 0) +
           64;
  }
};

// `units` is 8, 16, 32 or 64; `weight_bytes` 2 or 4.
Tiling make_tiling(std::int64_t H, int units, int weight_bytes);
Tiling make_mma_tiling(std::int64_t H, int units, int weight_bytes);
// Of a plan of one of the persistent paths.
Tiling tiling_of(const lstmcore_cuda_plan& plan, const lstmcore_cuda_spec& spec);

// R, [H, 4H] in gate order i, j, f, o, as the words of every block: [blocks][words / 4][kThreads][4]. With
// the MMA kernel four words are the first factor of one product. `dtype` is not float64; `math` is
// lstmcore_cuda_math.
std::vector<std::uint32_t> pack_recurrent(const Tiling& tiling, std::int64_t H, const float* R, int dtype,
                                          int math = LSTMCORE_CUDA_IEEE);

// Whether any persistent path can run the layer, whatever its sizes: see PersistentPath for the projection.
inline bool persistent_possible(const lstmcore_cuda_spec& spec) {
  return spec.dtype != LSTMCORE_CUDA_FLOAT64 && !(spec.num_proj && spec.has_proj_clip);
}

// Throws std::invalid_argument for sizes or a path that cannot be; see lstmcore_cuda_plan.
lstmcore_cuda_plan make_plan(const lstmcore_cuda_device& device, const lstmcore_cuda_spec& spec,
                             std::int64_t steps, std::int64_t batch, int path);

inline std::size_t dtype_bytes(int dtype) {
  return dtype == LSTMCORE_CUDA_FLOAT64 ? 8 : dtype == LSTMCORE_CUDA_FLOAT32 ? 4 : 2;
}

}  // namespace cuda
}  // namespace lstmcore
