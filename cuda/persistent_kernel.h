// The persistent kernel of fused multiply-adds, for one exchange; included by one .cu file for each.
#pragma once

#include <type_traits>

#include "exchange.h"
#include "fma_weights.h"
#include "owned_cell.h"
#include "persistent_launch.h"

namespace lstmcore {
namespace cuda {
namespace {

// The sums of all warps for one cell, in the order of K. `partial` is the cell's place in the first one.
template <int ROWS>
__device__ __forceinline__ Pre<float> sum_partials(const float* partial, int sums) {
  Pre<float> sum = *reinterpret_cast<const Pre<float>*>(partial);
#pragma unroll 1
  for (int s = 1; s < sums; ++s) sum = sum + *reinterpret_cast<const Pre<float>*>(partial + s * ROWS * 32);
  return sum;
}

// What a thread finishes: cells of one unit, of one row of the group or of rows that are as far apart as
// there are threads for; threads that are left over have none.
struct FmaOwner {
  int own_unit, rows_apart, row;
  __device__ __forceinline__ explicit FmaOwner(const Tiling& tiling)
      : own_unit(int(threadIdx.x) % tiling.row_lanes()),
        rows_apart(kThreads / tiling.row_lanes()),
        row(int(threadIdx.x) / tiling.row_lanes()) {
    if (row >= rows_apart) row = kMaxRows;
  }

  // f(row, place)
  template <class F>
  __device__ __forceinline__ void each(int rows, const F& f) const {
    int place = int(threadIdx.x);
#pragma unroll 1
    for (int r = row; r < rows; r += rows_apart, place += kThreads) f(r, place);
  }
};

// The cell of a thread that has no more than one: in registers.
template <class S, int ROWS>
class OneCell {
 public:
  __device__ __forceinline__ OneCell(const PersistentArgs& args, const FmaOwner& owner, int group, int unit,
                                     CellPlaces)
      : row_(owner.row),
        owns_(row_ < ROWS),
        cell_(args, group * ROWS + row_, unit),
        left_(steps_left(args, cell_.n)) {
    cell_.real = cell_.real && owns_;
    cell_.start(args);
  }
  // The inputs of a step are on their way while h is waited for.
  __device__ __forceinline__ void fetch(const PersistentArgs& args, std::int64_t position) {
    input_ = {};
    if (cell_.real) input_ = *cell_.projected(args, position) + unit_bias(args, cell_.unit);
  }
  // f(row, cell, its input with the bias, steps left)
  template <class F>
  __device__ __forceinline__ void each(const PersistentArgs&, const F& f) {
    if (owns_) f(row_, cell_, input_, left_);
  }
  __device__ __forceinline__ void finish(const PersistentArgs& args) const { cell_.finish(args); }

 private:
  int row_;
  bool owns_;  // a place in the tile
  OwnedCell<S> cell_;
  int left_;
  Pre<float> input_;
};

// Those of a thread that may have several: in shared memory.
template <class S, int ROWS>
class SeveralCells {
 public:
  __device__ __forceinline__ SeveralCells(const PersistentArgs& args, const FmaOwner& owner, int group,
                                          int unit, CellPlaces places)
      : owner_(owner), group_(group), unit_(unit), places_(places) {
    visit(args, [&](int, OwnedCell<S>& cell, int place) {
      cell.start(args);
      places_.put(cell, place);
    });
  }
  __device__ __forceinline__ void fetch(const PersistentArgs& args, std::int64_t position) {
    visit(args, [&](int, const OwnedCell<S>& cell, int place) {
      places_.fetch_input(args, cell, position, place);
    });
  }
  template <class F>
  __device__ __forceinline__ void each(const PersistentArgs& args, const F& f) {
    const Pre<float> bias = unit_bias(args, unit_);
    wait_copies();
    visit(args, [&](int row, OwnedCell<S>& cell, int place) {
      places_.take(cell, place);
      f(row, cell, places_.input(cell, place) + bias, steps_left(args, cell.n));
      places_.put(cell, place);
    });
  }
  __device__ __forceinline__ void finish(const PersistentArgs& args) const {
    visit(args, [&](int, OwnedCell<S>& cell, int place) {
      places_.take(cell, place);
      cell.finish(args);
    });
  }

 private:
  template <class F>
  __device__ __forceinline__ void visit(const PersistentArgs& args, const F& f) const {
    owner_.each(ROWS, [&](int row, int place) {
      OwnedCell<S> cell(args, group_ * ROWS + row, unit_);
      f(row, cell, place);
    });
  }

  FmaOwner owner_;
  int group_, unit_;
  CellPlaces places_;
};

// Where things are in the block's shared memory; Tiling::shared_bytes has the sizes.
struct FmaShared {
  uint4* weights;
  float* buffers;   // [2][rows][stride]: h
  float* partials;  // [sums][rows][32]
  CellPlaces places;
  std::uint64_t* barriers;

  __device__ __forceinline__ FmaShared(const Tiling& tiling, int rows, bool cells_in_shared) {
    const int cells = cells_in_shared ? tiling.cells(rows) * kThreads : 0;
    weights = reinterpret_cast<uint4*>(dynamic_shared());
    buffers = reinterpret_cast<float*>(weights + tiling.shared_words() / 4 * kThreads);
    partials = buffers + 2 * rows * tiling.h_stride;
    places.inputs = reinterpret_cast<Pre<float>*>(partials + tiling.sums * rows * 32);
    places.states = reinterpret_cast<float2*>(places.inputs + cells);
    barriers = reinterpret_cast<std::uint64_t*>(places.states + cells);
  }
};

// The h that R is multiplied with first, and zeros where no step writes.
template <class S, int ROWS>
__device__ __forceinline__ void start_buffers(const PersistentArgs& args, int group, float* buffers) {
  const int stride = args.tiling.h_stride, size = ROWS * stride;
#pragma unroll 1
  for (int i = int(threadIdx.x); i < 2 * size; i += kThreads) {
    const int k = i % stride;
    const std::int64_t n = std::int64_t(group) * ROWS + i / stride;
    const bool given = args.h0 && i < size && k < args.H && n < args.N;
    buffers[i] = given ? cuda::load(static_cast<const S*>(args.h0)[n * args.H + k]) : 0.0f;
  }
}

// SEVERAL: a warp has several row tiles.
template <class S, int ROWS, class Exchange, bool SEVERAL>
__global__ void __launch_bounds__(kThreads, 1)
    persistent_kernel(const __grid_constant__ PersistentArgs args) {
  constexpr bool kInShared = SEVERAL && ROWS > 1;
  using Cells = std::conditional_t<kInShared, SeveralCells<S, ROWS>, OneCell<S, ROWS>>;
  const Tiling& tiling = args.tiling;
  const int block = int(blockIdx.x) % tiling.blocks, group = int(blockIdx.x) / tiling.blocks;
  const int stride = tiling.h_stride, warp = int(threadIdx.x) / 32;
  const Share& share = tiling.shares[warp];
  const FmaShared shared(tiling, ROWS, kInShared);
  Weights<S, ROWS, SEVERAL> weights;
  weights.load(args, block, share, shared.weights);
  const FmaOwner owner(tiling);
  const int unit = block * tiling.units + owner.own_unit;
  Cells cells(args, owner, group, unit, shared.places);
  const CellOptions<float> options = unit_options(args, unit);
  start_buffers<S, ROWS>(args, group, shared.buffers);  // the first h is at hand everywhere: no exchange
  auto* words = reinterpret_cast<std::uint32_t*>(shared.buffers);
  Exchange exchange{{&args, ROWS, group, int(gridDim.x) / tiling.blocks, block, words, shared.barriers}};
  exchange.begin();
  __syncthreads();

  // Where a warp has one row tile, sums are found without a table: registers are short.
  const int own_tile = owner.own_unit / kTileUnits;
  const int first_sum = SEVERAL ? tiling.first_sum[own_tile] : own_tile * tiling.tile_warps;
  const int own_sums = SEVERAL ? tiling.first_sum[own_tile + 1] - first_sum : tiling.tile_warps;
  const float* own_partials = shared.partials + first_sum * ROWS * 32 + owner.own_unit % kTileUnits * 4;
  float* partial = shared.partials + (SEVERAL ? share.sum : warp) * ROWS * 32 + threadIdx.x % 32;
  const int own_h = share.in_tile * weights.kChunkLength;
  for (std::int64_t t = 0; t < args.T; ++t) {
    const std::int64_t position = args.reverse ? args.T - 1 - t : t;
    cells.fetch(args, position);
    const int buffer = int(t & 1) * ROWS * stride;
    if (t > 0 && !exchange.receive(t, words + buffer)) break;

    weights.multiply(shared.buffers + buffer + own_h, stride, tiling, share.in_tile, partial);
    __syncthreads();

    cells.each(args, [&](int row, OwnedCell<S>& cell, const Pre<float>& input, int left) {
      const Pre<float> sum = sum_partials<ROWS>(own_partials + row * 32, own_sums);
      cell.step(args, options, position, position < left, input + sum);
      if (t + 1 < args.T) exchange.publish(t, row, cell.unit, float_to_bits(cell.h));
    });
  }
  cells.finish(args);
  exchange.end();
}

template <class S, class Exchange, bool SEVERAL = false>
void launch_rows(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream) {
  auto kernel = plan.rows_per_group == 1   ? persistent_kernel<S, 1, Exchange, SEVERAL>
                : plan.rows_per_group == 4 ? persistent_kernel<S, 4, Exchange, SEVERAL>
                                           : persistent_kernel<S, kMaxRows, Exchange, SEVERAL>;
  launch(kernel, plan, args, stream);
}

}  // namespace

}  // namespace cuda
}  // namespace lstmcore
