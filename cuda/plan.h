// Which path a call takes, and how a persistent kernel divides the work: host code that no CUDA header
// enters.
//
// A persistent kernel keeps the recurrent weights of `units` units on each of `blocks` multiprocessors, for a
// group of `rows` batch rows. Eight units, 32 gate rows, are a row tile, whose weights are a list of chunks
// along K = H. The lists of all row tiles, one after the other, are dealt out evenly to the block's 8 warps:
//
//   units             8   16   32   64   72, 80, ... 256: of a single block
//   row tiles         1    2    4    8   9 to 32
//   warps of a tile   8    4    2    1   1 or 2: a warp has several tiles, of the first and last maybe a part
//
// More than 64 units are for path BLOCK alone, which has no other choice; where there are several blocks,
// more of them have less to do each. A lane has gate row 32 tile + l, that is unit row / 4, gate row % 4. A
// thread's share is its gate row's weights in the warp's chunks, as 32-bit words: the first register_words in
// registers, the rest in shared memory. Each warp's part of a row tile makes one partial sum.
//
// Two kernels divide the work so. That of fused multiply-adds has one gate row per lane, and chunks of 8
// words, which are 8 or 16 terms of K. That of tensor cores (MMA) has R as the first factor, so that batch
// rows, 8 to a tile, are the columns. Rows of a 16 x 8 product are units of one gate, and two products make
// the four gates of 8 units:
//
//   product  rows 0-7  rows 8-15      lane l holds unit l / 4 of columns 2 (l % 4) and the next: all gates
//   0        i         j              of two cells, with no exchange between lanes
//   1        f         o
//
// In a row, h is words of the operand's type (two 16-bit values, or one of 32 bits). A chunk is 16 words,
// two products deep, and lane l reads its words 4 (l % 4) to 4 (l % 4) + 3 at once: the first two for the
// one, the others for the other. Any order of K will do that both factors share.
#pragma once

#include <cstdint>
#include <vector>

#include "lstmcore/cuda_abi.h"

namespace lstmcore {
namespace cuda {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kTileUnits = 8;  // of a row tile
constexpr int kMaxRowTiles = kThreads / kTileUnits;
constexpr int kMaxRows = 8;  // batch rows of a group: 1, 4 or 8
constexpr int kColumns = 8;  // of a product of tensor cores; a group has 1, 2 or 4 times these rows
constexpr int kChunkWords = 8, kMmaChunkWords = 16;
constexpr int kFewRows = 4;  // of a batch, up to which the stepwise path takes one kernel for a step
constexpr std::size_t kExchangeLimit = std::size_t{64}
                                       << 20;  // bytes of h on its way between blocks, a launch

// Words of a thread's weights that are in registers: what the sums and the inner loop leave, of 255. One row
// of several tiles has most to gain, as each word more that a thread holds is 1 KB less of shared memory.
constexpr int register_words(bool mma, bool several_tiles, int rows) {
  if (mma) return 176;
  return !several_tiles ? 128 : rows == 1 ? 176 : rows == 4 ? 160 : 144;
}

// Of a warp: chunks one after the other, beginning with chunk `in_tile` of row tile `tile`.
struct Share {
  int chunks, tile, in_tile;
  int sum;  // of the partial sums, where its first one is
};

struct Tiling {
  bool mma = false;
  int units = 0, row_tiles = 0;
  int tile_warps = 0;                    // of a row tile, all with as many chunks; 0 where a warp has several
  int tile_chunks = 0, chunk_words = 0;  // of a row tile, zeros at the end included; of a thread, a chunk
  int words = 0;                         // per thread, of the warps that have the most
  int register_words = 0;
  int sums = 0;
  int blocks = 0;             // ceil(H / units)
  int h_words = 0;            // of a row of h
  int h_stride = 0;           // words from row to row in shared memory, zeros at the end included
  Share shares[kWarps] = {};  // in the order of the chunks
  std::uint8_t first_sum[kMaxRowTiles + 1] = {};  // of each row tile; they end where the next one's begin

  constexpr bool several_tiles() const { return row_tiles > kWarps; }  // of a warp
  constexpr int shared_words() const { return words > register_words ? words - register_words : 0; }
  // Lanes that finish cells of one batch row at a time: one for each unit.
  constexpr int row_lanes() const { return several_tiles() ? (units + 31) / 32 * 32 : units; }
  // Cells that a thread finishes in a step, one after the other.
  constexpr int cells(int rows) const {
    return mma ? (rows / 4 * row_tiles + kWarps - 1) / kWarps
               : (rows + kThreads / row_lanes() - 1) / (kThreads / row_lanes());
  }
  // Whether what belongs to a cell is in shared memory; else it is in its thread's registers.
  constexpr bool cells_in_shared(int rows) const { return mma || (several_tiles() && rows > 1); }
  // Weights, two buffers of h, partial sums of the gates, what belongs to a thread's cells, barriers.
  std::size_t shared_bytes(int rows) const {
    return std::size_t(shared_words()) * kThreads * 4 + std::size_t(2) * rows * h_stride * 4 +
           std::size_t(sums) * rows * 4 * kTileUnits * 4 +
           (cells_in_shared(rows) ? std::size_t(cells(rows)) * kThreads * 24 : 0) + 64;
  }
};

// `units` is 8, 16, 32, 64, or a multiple of 8 from 72 to 256 that is at least H; `weight_bytes` 2 or 4.
Tiling make_tiling(std::int64_t H, int units, int weight_bytes, int rows);
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
