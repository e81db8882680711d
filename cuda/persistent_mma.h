// The persistent kernel of tensor cores, for one exchange; included by one .cu file for each. plan.h has the
// layout of the weights, the products and h.
//
// Registers hold weights. What a cell needs from step to step (state, input gates) is in its thread's own
// places in shared memory, which no other thread reads.
#pragma once

#include "exchange.h"
#include "mma_fragments.h"
#include "owned_cell.h"
#include "persistent_launch.h"

namespace lstmcore {
namespace cuda {
namespace {

// Where things are in the block's shared memory; Tiling::shared_bytes has the sizes.
struct MmaShared {
  uint4* weights;
  std::uint32_t* buffers;  // [2][rows][stride]
  Pre<float>* partials;    // [sums][columns of the group][32]
  CellPlaces cells;
  std::uint64_t* barriers;

  __device__ __forceinline__ MmaShared(const Tiling& tiling, int rows) {
    const int cells_of_all = tiling.cells(rows) * kThreads;
    weights = reinterpret_cast<uint4*>(dynamic_shared());
    buffers = reinterpret_cast<std::uint32_t*>(weights + tiling.shared_words() / 4 * kThreads);
    partials = reinterpret_cast<Pre<float>*>(buffers + 2 * rows * tiling.h_stride);
    cells.inputs = partials + tiling.sums * rows * kTileUnits;
    cells.states = reinterpret_cast<float2*>(cells.inputs + cells_of_all);
    barriers = reinterpret_cast<std::uint64_t*>(cells.states + cells_of_all);
  }
};

// The words of h that R is multiplied with first, and zeros where no step writes.
template <class O>
__device__ __forceinline__ void start_buffers(const PersistentArgs& args, int rows, int group,
                                              std::uint32_t* buffers) {
  using S = typename Operand<O>::Stored;
  const int stride = args.tiling.h_stride;
#pragma unroll 1
  for (int i = int(threadIdx.x); i < 2 * rows * stride; i += kThreads) {
    const int row = i / stride;
    const std::int64_t n = std::int64_t(group) * rows + row;
    std::uint32_t word = 0;
#pragma unroll
    for (int part = 0; part < Operand<O>::kPerWord; ++part) {
      const std::int64_t k = std::int64_t(i % stride) * Operand<O>::kPerWord + part;
      if (args.h0 && row < rows && n < args.N && k < args.H)
        word |= Operand<O>::bits(cuda::load(static_cast<const S*>(args.h0)[n * args.H + k])) << (16 * part);
    }
    buffers[i] = word;
  }
}

// What a thread finishes. The 8 units of a row tile are dealt out, one to every 4 lanes, and to each warp in
// turn a row tile's columns of the group, two products to a tile; where a warp has one row tile, all of the
// same.
template <class O, bool SEVERAL>
struct MmaOwner {
  using S = typename Operand<O>::Stored;
  const PersistentArgs& args;
  int lane, first_tile, first_column, rows, block, group;
  __device__ __forceinline__ MmaOwner(const PersistentArgs& args, int block, int group)
      : args(args),
        lane(int(threadIdx.x) % 32),
        first_tile(int(threadIdx.x) / 32 % args.tiling.row_tiles),
        first_column(int(threadIdx.x) / 32 / args.tiling.row_tiles),
        rows(args.rows),
        block(block),
        group(group) {}

  __device__ __forceinline__ int columns() const { return rows / 4; }  // of a lane
  __device__ __forceinline__ int row(int column) const {
    return column / 2 * kColumns + lane % 4 * 2 + column % 2;
  }
  __device__ __forceinline__ int unit(int tile) const {
    return block * args.tiling.units + tile * kTileUnits + lane / 4;
  }
  __device__ __forceinline__ int partial(int sum, int column) const {
    return (sum * columns() + column) * 32 + lane;
  }
  // Of all warps, in the order of K.
  __device__ __forceinline__ Pre<float> sum(const Pre<float>* partials, int tile, int column) const {
    const Tiling& tiling = args.tiling;
    const int first = SEVERAL ? tiling.first_sum[tile] : tile * tiling.tile_warps;
    const int end = SEVERAL ? tiling.first_sum[tile + 1] : first + tiling.tile_warps;
    Pre<float> all = partials[partial(first, column)];
#pragma unroll 1
    for (int s = first + 1; s < end; ++s) all = all + partials[partial(s, column)];
    return all;
  }

  // f(tile, column, cell, place) for each of the thread's cells.
  template <class F>
  __device__ __forceinline__ void each(const F& f) const {
    int tile = first_tile, place = int(threadIdx.x);
#pragma unroll 1
    for (int column = first_column; column < columns(); place += kThreads) {
      f(tile, column, OwnedCell<S>(args, group * rows + row(column), unit(tile)), place);
      if (!SEVERAL) {
        column += args.tiling.tile_warps;
      } else if ((tile += kWarps) >= args.tiling.row_tiles) {
        tile -= args.tiling.row_tiles;
        ++column;
      }
    }
  }

  // All lanes of a warp, for the same column.
  template <class Exchange>
  __device__ __forceinline__ void publish(Exchange& exchange, std::int64_t t, int column, int unit,
                                          float h) const {
    const std::uint32_t bits = Operand<O>::bits(h);
    if constexpr (Operand<O>::kPerWord == 1) {
      exchange.publish(t, row(column), unit, bits);
    } else {
      const std::uint32_t next = shuffle_xor(bits, 4);  // the unit beside it
      if (unit % 2 == 0) exchange.publish(t, row(column), unit / 2, bits | next << 16);
    }
  }
};

// SEVERAL: a warp has several row tiles.
template <class O, int TILES, class Exchange, bool SEVERAL>
__global__ void __launch_bounds__(kThreads, 1) mma_kernel(const __grid_constant__ PersistentArgs args) {
  using S = typename Operand<O>::Stored;
  const Tiling& tiling = args.tiling;
  const int rows = args.rows, stride = tiling.h_stride;
  const int block = int(blockIdx.x) % tiling.blocks, group = int(blockIdx.x) / tiling.blocks;
  const Share& share = tiling.shares[threadIdx.x / 32];
  const MmaOwner<O, SEVERAL> owner(args, block, group);
  const MmaShared shared(tiling, rows);
  Fragments<O, SEVERAL> fragments;
  fragments.load(args, block, share, shared.weights);
  CellOptions<float> options = unit_options(args, owner.unit(owner.first_tile));
  Pre<float> bias = unit_bias(args, owner.unit(owner.first_tile));
  owner.each([&](int, int, OwnedCell<S> cell, int place) {
    cell.start(args);
    shared.cells.put(cell, place);
  });
  start_buffers<O>(args, rows, group, shared.buffers);  // the first h is at hand everywhere: no exchange
  Exchange exchange{
      {&args, rows, group, int(gridDim.x) / tiling.blocks, block, shared.buffers, shared.barriers}};
  exchange.begin();
  __syncthreads();

  const int own_words = share.in_tile * kMmaChunkWords + owner.lane / 4 * stride + owner.lane % 4 * 4;
  for (std::int64_t t = 0; t < args.T; ++t) {
    const std::int64_t position = args.reverse ? args.T - 1 - t : t;
    owner.each([&](int, int, const OwnedCell<S>& cell, int place) {  // on its way while h is waited for
      shared.cells.fetch_input(args, cell, position, place);
    });
    std::uint32_t* h = shared.buffers + (t & 1) * rows * stride;
    if (t > 0 && !exchange.receive(t, h)) break;
#pragma unroll 1
    for (int tile = 0; tile < rows / kColumns; tile += TILES)
      fragments.template multiply<TILES>(h + own_words + tile * kColumns * stride, share.in_tile, tiling,
                                         shared.partials + owner.partial(share.sum, 2 * tile),
                                         owner.columns() * 32);
    wait_copies();
    __syncthreads();

    owner.each([&](int tile, int column, OwnedCell<S> cell, int place) {
      shared.cells.take(cell, place);
      if (SEVERAL) {
        options = unit_options(args, cell.unit);
        bias = unit_bias(args, cell.unit);
      }
      const Pre<float> sum = owner.sum(shared.partials, tile, column);
      cell.step(args, options, position, position < steps_left(args, cell.n),
                shared.cells.input(cell, place) + bias + sum);
      shared.cells.put(cell, place);
      if (t + 1 < args.T) owner.publish(exchange, t, column, cell.unit, cell.h);
    });
  }
  owner.each([&](int, int, OwnedCell<S> cell, int place) {
    shared.cells.take(cell, place);
    cell.finish(args);
  });
  exchange.end();
}

template <class O, class Exchange, bool SEVERAL = false>
void launch_tiles(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream) {
  launch(plan.rows_per_group == kColumns ? mma_kernel<O, 1, Exchange, SEVERAL>
                                         : mma_kernel<O, 2, Exchange, SEVERAL>,
         plan, args, stream);
}

}  // namespace
}  // namespace cuda
}  // namespace lstmcore
