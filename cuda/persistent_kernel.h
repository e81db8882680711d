// The persistent kernel itself, for one exchange; included by one .cu file for each.
#pragma once

#include "exchange.h"
#include "status.h"

namespace lstmcore {
namespace cuda {
namespace {

template <class S>
constexpr int kWeightsPerWord = int(4 / sizeof(S));

// acc[row] += the word's weights times h from `k` on.
template <class S, int ROWS>
__device__ __forceinline__ void multiply_quad(const uint4& words, const float* h, int padded_k,
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
      const float4 v = *reinterpret_cast<const float4*>(h + row * padded_k + i);
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
  __device__ __forceinline__ void multiply(const float* h, int padded_k, float (&acc)[ROWS]) const {
    constexpr int kStep = 4 * kWeightsPerWord<S>;
#pragma unroll
    for (int first = 0; first < kQuads; first += kBlock) {
      if (first >= quads) break;
#pragma unroll
      for (int q = first; q < first + kBlock; ++q)
        multiply_quad<S>(in_registers[q], h + q * kStep, padded_k, acc);
    }
#pragma unroll 1  // unrolled, it would take the registers that hold weights
    for (int q = 0; q < shared_quads; ++q)
      multiply_quad<S>(in_shared[q * kThreads], h + (quads + q) * kStep, padded_k, acc);
  }
};

// The thread's (row, unit): its state, and where it reads and writes.
template <class S>
struct Owner {
  std::int64_t n, unit;
  int row;                 // in the group
  bool owns, real;         // has a place in the tile; has one in the batch too
  std::int64_t remaining;  // of the row's length, from this launch's first step on
  CellOptions<float> options;
  Pre<float> bias{};
  float c = 0, h = 0;

  __device__ __forceinline__ Owner(const PersistentArgs& args, int rows, int group, int block) {
    const int units = args.tiling.units;
    row = int(threadIdx.x) / units;
    unit = std::int64_t(block) * units + int(threadIdx.x) % units;
    n = std::int64_t(group) * rows + row;
    owns = row < rows;
    real = owns && n < args.N && unit < args.H;
    if (!real) return;
    options = cell_options(args.cell, unit);
    bias = reinterpret_cast<const Pre<float>*>(args.cell.bias)[unit];
    remaining = args.lengths ? args.lengths[n] - args.first : args.T;
    if (args.c0) c = args.c0[n * args.H + unit];
    if (args.h0) h = cuda::load(static_cast<const S*>(args.h0)[n * args.H + unit]);
  }

  __device__ __forceinline__ Pre<float> projected(const PersistentArgs& args, std::int64_t position) const {
    if (!real) return {};
    return args.projected[position * args.projected_step + n * args.projected_row + unit] + bias;
  }

  __device__ __forceinline__ void step(const PersistentArgs& args, std::int64_t position, Pre<float> pre) {
    if (!real) return;
    const bool runs = position < remaining;
    if (runs) {
      const CellState<float> state = run_cell(options, pre, c);
      c = state.c;
      h = cuda::load(store<S>(state.h));
    }
    if (args.y)
      static_cast<S*>(args.y)[position * args.y_step + n * args.y_row + unit] = store<S>(runs ? h : 0.0f);
    if (args.c_seq) args.c_seq[position * args.c_step + n * args.c_row + unit] = runs ? c : 0.0f;
  }

  __device__ __forceinline__ void finish(const PersistentArgs& args) const {
    if (!real) return;
    args.c_n[n * args.H + unit] = c;
    static_cast<S*>(args.h_n)[n * args.H + unit] = store<S>(h);
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
  const int padded_k = tiling.padded_k(), buffer_size = ROWS * padded_k, gates = 4 * tiling.units;
  const int warp = int(threadIdx.x) / 32, slice = warp / tiling.row_tiles;
  const int gate_row = warp % tiling.row_tiles * 32 + int(threadIdx.x) % 32;

  uint4* shared_weights = reinterpret_cast<uint4*>(dynamic_shared());
  float* buffers = reinterpret_cast<float*>(shared_weights + tiling.shared_words() / 4 * kThreads);
  float* partials = buffers + 2 * buffer_size;
  auto* barriers = reinterpret_cast<std::uint64_t*>(partials + tiling.slices * ROWS * gates);

  Weights<S> weights;
  weights.load(args, block, shared_weights);
  Owner<S> owner(args, ROWS, group, block);
  // The first h is at hand everywhere: no exchange.
#pragma unroll 1
  for (int i = int(threadIdx.x); i < 2 * buffer_size; i += kThreads) {
    const int row = i / padded_k, k = i % padded_k;
    const std::int64_t n = std::int64_t(group) * ROWS + row;
    const bool given = args.h0 && row < ROWS && k < args.H && n < args.N;
    buffers[i] = given ? cuda::load(static_cast<const S*>(args.h0)[n * args.H + k]) : 0.0f;
  }
  Exchange exchange{{&args, ROWS, group, int(gridDim.x) / tiling.blocks, block, buffers, barriers}};
  exchange.begin();
  __syncthreads();

  for (std::int64_t t = 0; t < args.T; ++t) {
    const std::int64_t position = args.reverse ? args.T - 1 - t : t;
    Pre<float> pre = owner.projected(args, position);  // on its way while h is waited for
    float* h = buffers + (t & 1) * buffer_size;
    if (t > 0 && !exchange.receive(t, h)) break;

    float acc[ROWS] = {};
    weights.multiply(h + slice * tiling.slice_length, padded_k, acc);
    for (int row = 0; row < ROWS; ++row) partials[(slice * ROWS + row) * gates + gate_row] = acc[row];
    __syncthreads();

    if (!owner.owns) continue;
    const float* own = partials + owner.row * gates + int(threadIdx.x) % tiling.units * 4;
    owner.step(args, position, pre + sum_slices(own, tiling.slices, ROWS * gates));
    if (t + 1 < args.T) exchange.publish(t, owner.row, int(owner.unit), owner.h);
  }
  owner.finish(args);
  exchange.end();
}

inline void launch(const void* kernel, void (*typed)(PersistentArgs), const lstmcore_cuda_plan& plan,
                   const PersistentArgs& args, cudaStream_t stream) {
  LSTMCORE_CUDA_CHECK(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(plan.shared_bytes)));
  cudaLaunchAttribute attribute{};
  if (plan.path == LSTMCORE_CUDA_CLUSTER) {
    if (plan.blocks_per_group > 8)
      LSTMCORE_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1));
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {unsigned(plan.blocks_per_group), 1, 1};
  } else {
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = plan.path == LSTMCORE_CUDA_GRID;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(unsigned(plan.groups) * unsigned(plan.blocks_per_group));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = plan.shared_bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  LSTMCORE_CUDA_CHECK(cudaLaunchKernelEx(&config, typed, args));
}

template <class S, class Exchange>
void launch_rows(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream) {
  auto kernel = plan.rows_per_group == 1   ? persistent_kernel<S, 1, Exchange>
                : plan.rows_per_group == 4 ? persistent_kernel<S, 4, Exchange>
                                           : persistent_kernel<S, kMaxRows, Exchange>;
  launch(reinterpret_cast<const void*>(kernel), kernel, plan, args, stream);
}

}  // namespace

}  // namespace cuda
}  // namespace lstmcore
