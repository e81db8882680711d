// A whole time step of up to kFewRows rows in one kernel. A block has kVectors vectors of gates (16 bytes of a
// row of weights, where rows are aligned so) and kSlices slices of the sums; thread t: vector t % kVectors,
// slice t / kVectors, which is every kSlices-th term, from its own number on. The slices are added as a tree.
#include "launch.h"
#include "primitives.h"
#include "step_unit.h"
#include "stepwise.h"

namespace lstmcore {
namespace cuda {
namespace {

constexpr int kVectors = 8, kSlices = kStepThreads / kVectors;

// The gates of UNITS units in one row of weights, read at once.
template <class S, int UNITS>
struct alignas(4 * UNITS * sizeof(S)) GateVector {
  S values[4 * UNITS];
};

template <class S, int ROWS, int UNITS>
struct Sums {
  using A = Accumulator<S>;
  Pre<A> at[ROWS][UNITS] = {};

  // Adds this thread's slice of a product of [N, K] and [K, H, 4], at the units from `unit` on.
  __device__ __forceinline__ void multiply(const S* rows, std::int64_t row, std::int64_t N, const S* weights,
                                           std::int64_t K, std::int64_t H, std::int64_t unit, int slice) {
#pragma unroll 4
    for (std::int64_t k = slice; k < K; k += kSlices) {
      const auto gates = *reinterpret_cast<const GateVector<S, UNITS>*>(weights + (k * H + unit) * 4);
#pragma unroll
      for (int n = 0; n < ROWS; ++n) {
        const A value = cuda::load(rows[(n < N ? n : N - 1) * row + k]);  // rows beyond N: computed, not used
#pragma unroll
        for (int u = 0; u < UNITS; ++u) {
          Pre<A>& sum = at[n][u];
          sum.i = Num<A>::fma(cuda::load(gates.values[4 * u]), value, sum.i);
          sum.j = Num<A>::fma(cuda::load(gates.values[4 * u + 1]), value, sum.j);
          sum.f = Num<A>::fma(cuda::load(gates.values[4 * u + 2]), value, sum.f);
          sum.o = Num<A>::fma(cuda::load(gates.values[4 * u + 3]), value, sum.o);
        }
      }
    }
  }
};

// ROWS is at least N. UNITS divides H.
template <class S, int ROWS, int UNITS>
__global__ void __launch_bounds__(kStepThreads, 2)  // or ptxas saves registers and spills
    fused_step_kernel(const __grid_constant__ StepArgs<S> args, const __grid_constant__ StepWeights<S> weights) {
  using A = Accumulator<S>;
  constexpr int kUnits = kVectors * UNITS;  // of a block
  const int thread = int(threadIdx.x), slice = thread / kVectors, column = thread % kVectors;
  const std::int64_t first = std::int64_t(blockIdx.x) * kUnits, unit = first + column * UNITS;

  // The thread's own (row, unit) at the end.
  const int n = thread / kUnits;
  const std::int64_t own = first + thread % kUnits;
  const bool finishes = n < args.N && own < args.H;
  CellOptions<A> options{};
  Pre<A> bias{};
  if (finishes) {
    options = cell_options(args.cell, own);
    bias = reinterpret_cast<const Pre<A>*>(args.cell.bias)[own];
  }

  wait_for_kernel_before();  // all above is of the layer alone
  let_next_kernel_start();

  Sums<S, ROWS, UNITS> sums;
  if (unit < args.H) {
    if (weights.x)
      sums.multiply(weights.x, weights.x_row, args.N, weights.W, weights.I, args.H, unit, slice);
    if (args.h_before)
      sums.multiply(args.h_before, args.P, args.N, weights.R, args.P, args.H, unit, slice);
  }
  auto* shared = reinterpret_cast<Pre<A>*>(dynamic_shared());  // [kSlices][ROWS][kUnits]
  const auto part = [=](int s, int row, int u) -> Pre<A>& { return shared[(s * ROWS + row) * kUnits + u]; };
#pragma unroll
  for (int row = 0; row < ROWS; ++row)
#pragma unroll
    for (int u = 0; u < UNITS; ++u) part(slice, row, column * UNITS + u) = sums.at[row][u];
  for (int half = kSlices / 2; half > 0; half /= 2) {
    __syncthreads();
    if (slice >= half) continue;
    for (int row = 0; row < ROWS; ++row)
      for (int u = column * UNITS; u < (column + 1) * UNITS; ++u)
        part(slice, row, u) = part(slice, row, u) + part(slice + half, row, u);
  }
  __syncthreads();
  if (!finishes) return;
  Pre<A> pre = part(0, n, thread % kUnits) + bias;
  if (args.pre) pre = reinterpret_cast<const Pre<A>*>(args.pre + n * args.pre_row)[own] + pre;
  finish_unit(args, options, pre, n, own);
}

template <class S, int ROWS, int UNITS>
void launch_fused(const StepArgs<S>& args, const StepWeights<S>& weights, cudaStream_t stream) {
  constexpr int kUnits = kVectors * UNITS;
  const dim3 blocks(unsigned((args.H + kUnits - 1) / kUnits));
  const std::size_t shared_bytes = sizeof(Pre<Accumulator<S>>) * kSlices * ROWS * kUnits;
  launch(fused_step_kernel<S, ROWS, UNITS>, {blocks, shared_bytes, args.overlaps}, stream, args, weights);
}

}  // namespace

template <class S>
void run_fused(const StepArgs<S>& args, const StepWeights<S>& weights, cudaStream_t stream) {
  if constexpr (sizeof(S) == 2)
    if (args.H % 2 == 0)
      return args.N == 1 ? launch_fused<S, 1, 2>(args, weights, stream)
                         : launch_fused<S, kFewRows, 2>(args, weights, stream);
  return args.N == 1 ? launch_fused<S, 1, 1>(args, weights, stream)
                     : launch_fused<S, kFewRows, 1>(args, weights, stream);
}

template void run_fused<float>(const StepArgs<float>&, const StepWeights<float>&, cudaStream_t);
template void run_fused<double>(const StepArgs<double>&, const StepWeights<double>&, cudaStream_t);
template void run_fused<float16>(const StepArgs<float16>&, const StepWeights<float16>&, cudaStream_t);
template void run_fused<bfloat16>(const StepArgs<bfloat16>&, const StepWeights<bfloat16>&, cudaStream_t);

}  // namespace cuda
}  // namespace lstmcore
