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
  Pre<float>* partials;    // [slices][columns of the group][row tiles][32]
  Pre<float>* inputs;      // [cells][kThreads]: x W
  float2* states;          // [cells][kThreads]: c, h
  std::uint64_t* barriers;

  __device__ __forceinline__ MmaShared(const Tiling& tiling, int rows) {
    const int cells = tiling.cells(rows);
    weights = reinterpret_cast<uint4*>(dynamic_shared());
    buffers = reinterpret_cast<std::uint32_t*>(weights + tiling.shared_words() / 4 * kThreads);
    partials = reinterpret_cast<Pre<float>*>(buffers + 2 * rows * tiling.h_stride);
    inputs = partials + tiling.slices * rows * tiling.units;
    states = reinterpret_cast<float2*>(inputs + cells * kThreads);
    barriers = reinterpret_cast<std::uint64_t*>(states + cells * kThreads);
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

// What a thread finishes: the 8 units of its warp are dealt out, one to every 4 lanes, and the columns of the
// group, two products to a tile, among the warps that share those units.
template <class O>
struct MmaOwner {
  using S = typename Operand<O>::Stored;
  const PersistentArgs& args;
  int lane, slice, row_tile, rows, group, unit;
  __device__ __forceinline__ MmaOwner(const PersistentArgs& args, int block, int group)
      : args(args),
        lane(int(threadIdx.x) % 32),
        slice(int(threadIdx.x) / 32 / args.tiling.row_tiles),
        row_tile(int(threadIdx.x) / 32 % args.tiling.row_tiles),
        rows(args.rows),
        group(group),
        unit(block * args.tiling.units + row_tile * 8 + lane / 4) {}

  __device__ __forceinline__ int columns() const { return rows / 4; }  // of a lane
  __device__ __forceinline__ int row(int column) const {
    return column / 2 * kColumns + lane % 4 * 2 + column % 2;
  }
  __device__ __forceinline__ OwnedCell<S> cell(int column) const {
    return OwnedCell<S>(args, group * rows + row(column), unit);
  }
  // Of a lane's sum of a slice.
  __device__ __forceinline__ int partial(int slice, int column) const {
    return ((slice * columns() + column) * args.tiling.row_tiles + row_tile) * 32 + lane;
  }
  __device__ __forceinline__ int place(int column) const {
    return column / args.tiling.slices * kThreads + int(threadIdx.x);
  }

  // f(column, cell, place) for each of the thread's cells.
  template <class F>
  __device__ __forceinline__ void each(const F& f) const {
#pragma unroll 1
    for (int column = slice; column < columns(); column += args.tiling.slices)
      f(column, cell(column), place(column));
  }

  // All lanes of a warp, for the same column.
  template <class Exchange>
  __device__ __forceinline__ void publish(Exchange& exchange, std::int64_t t, int column, float h) const {
    const std::uint32_t bits = Operand<O>::bits(h);
    if constexpr (Operand<O>::kPerWord == 1) {
      exchange.publish(t, row(column), unit, bits);
    } else {
      const std::uint32_t next = shuffle_xor(bits, 4);  // the unit beside it
      if (unit % 2 == 0) exchange.publish(t, row(column), unit / 2, bits | next << 16);
    }
  }
};

template <class O, int TILES>
__device__ __forceinline__ void multiply_tiles(const Fragments<O>& fragments, const MmaOwner<O>& owner,
                                               const std::uint32_t* h, Pre<float>* partials) {
  const int stride = owner.args.tiling.h_stride;
#pragma unroll 1
  for (int tile = 0; tile < owner.rows / kColumns; tile += TILES) {
    Sums sums{};
    fragments.template multiply<TILES>(h + tile * kColumns * stride, stride, sums);
    if (kEvenAndOdd<O, TILES>)
#pragma unroll
      for (int i = 0; i < 8; ++i) sums.of[0][i / 4][i % 4] += sums.of[1][i / 4][i % 4];
#pragma unroll
    for (int column = 0; column < 2 * TILES; ++column) {
      const auto& of = sums.of[column / 2];
      const int e = column % 2;
      partials[owner.partial(owner.slice, 2 * tile + column)] = {of[0][e], of[0][2 + e], of[1][e],
                                                                 of[1][2 + e]};
    }
  }
}

template <class O, int TILES, class Exchange>
__global__ void __launch_bounds__(kThreads, 1) mma_kernel(const __grid_constant__ PersistentArgs args) {
  using S = typename Operand<O>::Stored;
  const Tiling& tiling = args.tiling;
  const int rows = args.rows;
  const int block = int(blockIdx.x) % tiling.blocks, group = int(blockIdx.x) / tiling.blocks;
  const MmaOwner<O> owner(args, block, group);
  const MmaShared shared(tiling, rows);
  Fragments<O> fragments;
  fragments.load(args, block, shared.weights);
  const CellOptions<float> options = unit_options(args, owner.unit);
  const Pre<float> bias = unit_bias(args, owner.unit);
  owner.each([&](int, OwnedCell<S> cell, int place) {
    cell.start(args);
    shared.states[place] = float2{cell.c, cell.h};
  });
  start_buffers<O>(args, rows, group, shared.buffers);  // the first h is at hand everywhere: no exchange
  Exchange exchange{
      {&args, rows, group, int(gridDim.x) / tiling.blocks, block, shared.buffers, shared.barriers}};
  exchange.begin();
  __syncthreads();

  // A slice has as many words in a row of h as a thread has of weights.
  const int own_words = owner.slice * tiling.words + owner.lane / 4 * tiling.h_stride + owner.lane % 4 * 4;
  for (std::int64_t t = 0; t < args.T; ++t) {
    const std::int64_t position = args.reverse ? args.T - 1 - t : t;
    owner.each([&](int, const OwnedCell<S>& cell, int place) {  // on its way while h is waited for
      if (cell.real)
        start_copy(reinterpret_cast<float4*>(&shared.inputs[place]), cell.projected(args, position));
    });
    std::uint32_t* h = shared.buffers + (t & 1) * rows * tiling.h_stride;
    if (t > 0 && !exchange.receive(t, h)) break;
    multiply_tiles<O, TILES>(fragments, owner, h + own_words, shared.partials);
    wait_copies();
    __syncthreads();

    owner.each([&](int column, OwnedCell<S> cell, int place) {
      const float2 state = shared.states[place];
      cell.c = state.x;
      cell.h = state.y;
      Pre<float> sum = shared.partials[owner.partial(0, column)];
#pragma unroll 1
      for (int s = 1; s < tiling.slices; ++s) sum = sum + shared.partials[owner.partial(s, column)];
      const Pre<float> input = cell.real ? shared.inputs[place] : Pre<float>{};
      cell.step(args, options, position, position < steps_left(args, cell.n), input + bias + sum);
      shared.states[place] = float2{cell.c, cell.h};
      if (t + 1 < args.T) owner.publish(exchange, t, column, cell.h);
    });
  }
  owner.each([&](int, OwnedCell<S> cell, int place) {
    cell.c = shared.states[place].x;
    cell.h = shared.states[place].y;
    cell.finish(args);
  });
  exchange.end();
}

template <class O, class Exchange>
void launch_tiles(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream) {
  launch(plan.rows_per_group == kColumns ? mma_kernel<O, 1, Exchange> : mma_kernel<O, 2, Exchange>, plan,
         args, stream);
}

}  // namespace
}  // namespace cuda
}  // namespace lstmcore
