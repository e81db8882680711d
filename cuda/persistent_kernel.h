// The persistent kernel of fused multiply-adds, for one exchange; included by one .cu file for each.
#pragma once

#include "exchange.h"
#include "owned_cell.h"
#include "persistent_launch.h"

namespace lstmcore {
namespace cuda {
namespace {

template <class S>
constexpr int kWeightsPerWord = int(4 / sizeof(S));

// acc[row] += the word's weights times h from `k` on.
template <class S, int ROWS>
__device__ __forceinline__ void multiply_quad(const uint4& words, const float* h, int stride,
                                              float (&acc)[ROWS]) {
  std::uint32_t word[4] = {words.x, words.y, words.z, words.w};
  constexpr int kWeights = 4 * kWeightsPerWord<S>;
  float weight[kWeights];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (kWeightsPerWord<S> == 1) {
      weight[i] = bits_to_float(word[i]);
    } else {
      keep_packed(word[i]);
      weight[2 * i] = low_half(word[i], S{});
      weight[2 * i + 1] = high_half(word[i], S{});
    }
  }
#pragma unroll
  for (int row = 0; row < ROWS; ++row)
#pragma unroll
    for (int i = 0; i < kWeights; i += 4) {
      const float4 v = *reinterpret_cast<const float4*>(h + row * stride + i);
      acc[row] = fmaf(weight[i], v.x, acc[row]);
      acc[row] = fmaf(weight[i + 1], v.y, acc[row]);
      acc[row] = fmaf(weight[i + 2], v.z, acc[row]);
      acc[row] = fmaf(weight[i + 3], v.w, acc[row]);
    }
}

// A thread's share of R. Registers can only be indexed by constants: hence unrolled pairs of quads, of which
// those that are not there are skipped, by all threads alike.
template <class S>
struct Weights {
  static constexpr int kQuads = kRegisterWords / 4, kBlock = 2;
  uint4 in_registers[kQuads];
  const uint4* in_shared;
  int quads, shared_quads;

  __device__ __forceinline__ void load(const PersistentArgs& args, int block, uint4* shared) {
    const int all = args.tiling.words / 4;
    quads = all < kQuads ? all : kQuads;
    shared_quads = all - quads;
    const uint4* from = args.words + std::int64_t(block) * all * kThreads + threadIdx.x;
#pragma unroll
    for (int q = 0; q < kQuads; ++q)
      in_registers[q] = q < quads ? from[q * kThreads] : make_uint4(0, 0, 0, 0);
#pragma unroll 1
    for (int q = 0; q < shared_quads; ++q) shared[q * kThreads + threadIdx.x] = from[(quads + q) * kThreads];
    in_shared = shared + threadIdx.x;
  }

  // h at the start of the thread's slice.
  template <int ROWS>
  __device__ __forceinline__ void multiply(const float* h, int stride, float (&acc)[ROWS]) const {
    constexpr int kStep = 4 * kWeightsPerWord<S>;
#pragma unroll
    for (int first = 0; first < kQuads; first += kBlock) {
      if (first >= quads) break;
#pragma unroll
      for (int q = first; q < first + kBlock; ++q)
        multiply_quad<S>(in_registers[q], h + q * kStep, stride, acc);
    }
#pragma unroll 1  // unrolled, it would take the registers that hold weights
    for (int q = 0; q < shared_quads; ++q)
      multiply_quad<S>(in_shared[q * kThreads], h + (quads + q) * kStep, stride, acc);
  }
};

// The sums of all slices for one (row, unit), in the order of the slices.
__device__ __forceinline__ Pre<float> sum_slices(const float* partial, int slices, int stride) {
  Pre<float> sum = *reinterpret_cast<const Pre<float>*>(partial);
#pragma unroll 1
  for (int s = 1; s < slices; ++s) sum = sum + *reinterpret_cast<const Pre<float>*>(partial + s * stride);
  return sum;
}

template <class S, int ROWS, class Exchange>
__global__ void __launch_bounds__(kThreads, 1)
    persistent_kernel(const __grid_constant__ PersistentArgs args) {
  const Tiling& tiling = args.tiling;
  const int block = int(blockIdx.x) % tiling.blocks, group = int(blockIdx.x) / tiling.blocks;
  const int stride = tiling.h_stride, buffer_size = ROWS * stride, gates = 4 * tiling.units;
  const int warp = int(threadIdx.x) / 32, slice = warp / tiling.row_tiles;
  const int gate_row = warp % tiling.row_tiles * 32 + int(threadIdx.x) % 32;

  uint4* shared_weights = reinterpret_cast<uint4*>(dynamic_shared());
  float* buffers = reinterpret_cast<float*>(shared_weights + tiling.shared_words() / 4 * kThreads);
  float* partials = buffers + 2 * buffer_size;
  auto* barriers = reinterpret_cast<std::uint64_t*>(partials + tiling.slices * ROWS * gates);

  Weights<S> weights;
  weights.load(args, block, shared_weights);
  const int row = int(threadIdx.x) / tiling.units, own_unit = int(threadIdx.x) % tiling.units;
  const bool owns = row < ROWS;  // a place in the tile
  OwnedCell<S> cell(args, group * ROWS + row, block * tiling.units + own_unit);
  cell.real = cell.real && owns;
  cell.start(args);
  const CellOptions<float> options = unit_options(args, cell.unit);
  const int left = steps_left(args, cell.n);
  // The first h is at hand everywhere: no exchange.
#pragma unroll 1
  for (int i = int(threadIdx.x); i < 2 * buffer_size; i += kThreads) {
    const int k = i % stride;
    const std::int64_t n = std::int64_t(group) * ROWS + i / stride;
    const bool given = args.h0 && i < buffer_size && k < args.H && n < args.N;
    buffers[i] = given ? cuda::load(static_cast<const S*>(args.h0)[n * args.H + k]) : 0.0f;
  }
  auto* words = reinterpret_cast<std::uint32_t*>(buffers);
  Exchange exchange{{&args, ROWS, group, int(gridDim.x) / tiling.blocks, block, words, barriers}};
  exchange.begin();
  __syncthreads();

  for (std::int64_t t = 0; t < args.T; ++t) {
    const std::int64_t position = args.reverse ? args.T - 1 - t : t;
    Pre<float> pre{};  // on its way while h is waited for
    if (cell.real) pre = *cell.projected(args, position) + unit_bias(args, cell.unit);
    const float* h = buffers + (t & 1) * buffer_size;
    if (t > 0 && !exchange.receive(t, words + (t & 1) * buffer_size)) break;

    float acc[ROWS] = {};
    weights.multiply(h + slice * tiling.slice_length, stride, acc);
    for (int n = 0; n < ROWS; ++n) partials[(slice * ROWS + n) * gates + gate_row] = acc[n];
    __syncthreads();

    if (!owns) continue;
    const float* own = partials + row * gates + own_unit * 4;
    cell.step(args, options, position, position < left, pre + sum_slices(own, tiling.slices, ROWS * gates));
    if (t + 1 < args.T) exchange.publish(t, row, cell.unit, float_to_bits(cell.h));
  }
  cell.finish(args);
  exchange.end();
}

template <class S, class Exchange>
void launch_rows(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream) {
  auto kernel = plan.rows_per_group == 1   ? persistent_kernel<S, 1, Exchange>
                : plan.rows_per_group == 4 ? persistent_kernel<S, 4, Exchange>
                                           : persistent_kernel<S, kMaxRows, Exchange>;
  launch(kernel, plan, args, stream);
}

}  // namespace

}  // namespace cuda
}  // namespace lstmcore
