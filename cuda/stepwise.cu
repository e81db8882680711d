#include "launch.h"
#include "primitives.h"
#include "step_unit.h"
#include "stepwise.h"

namespace lstmcore {
namespace cuda {
namespace {

__global__ void set_outputs_kernel(StepOutputs* to, StepOutputs outputs) {
  if (threadIdx.x == 0) *to = outputs;
}

// One thread per unit of a row.
template <class S>
__global__ void __launch_bounds__(kStepThreads) gates_kernel(const __grid_constant__ StepArgs<S> args) {
  using A = Accumulator<S>;
  const std::int64_t index = std::int64_t(blockIdx.x) * kStepThreads + threadIdx.x;
  const std::int64_t n = index / args.H, unit = index % args.H;
  const CellOptions<A> options = cell_options(args.cell, unit);
  const Pre<A> bias = reinterpret_cast<const Pre<A>*>(args.cell.bias)[unit];
  wait_for_kernel_before();  // all above is of the layer alone
  if (index >= args.N * args.H) return;
  const Pre<A> pre = reinterpret_cast<const Pre<A>*>(args.pre + n * args.pre_row)[unit] + bias;
  finish_unit(args, options, pre, n, unit);
}

// One thread per output of a row and step.
template <class S>
__global__ void __launch_bounds__(kStepThreads) projection_kernel(const __grid_constant__ StepArgs<S> args) {
  const std::int64_t index = std::int64_t(blockIdx.x) * kStepThreads + threadIdx.x;
  const std::int64_t row = index / args.P, column = index % args.P;
  wait_for_kernel_before();
  if (index >= args.steps * args.N * args.P) return;
  Accumulator<S> h = args.projected[index];
  if (args.clip) h = clip(h, -args.clip_limit, args.clip_limit);
  write_h(args, outputs_of(args), args.position + row / args.N, row % args.N, column, h);
}

}  // namespace

void set_outputs(StepOutputs* to, const StepOutputs& outputs, cudaStream_t stream) {
  launch(set_outputs_kernel, {dim3(1)}, stream, to, outputs);
}

template <class S>
void run_gates(const StepArgs<S>& args, cudaStream_t stream) {
  launch(gates_kernel<S>, {blocks_for(args.N * args.H), 0, args.overlaps}, stream, args);
}

template <class S>
void finish_projection(const StepArgs<S>& args, cudaStream_t stream) {
  launch(projection_kernel<S>, {blocks_for(args.steps * args.N * args.P), 0, args.overlaps}, stream, args);
}

bool kernels_can_wait() {
  constexpr int kOldestDriver = 12030;  // of CUDA 12.3: older ones cannot have such launches in a graph
  int driver = 0;
  LSTMCORE_CUDA_CHECK(cudaDriverGetVersion(&driver));
  cudaFuncAttributes attributes{};
  LSTMCORE_CUDA_CHECK(
      cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(gates_kernel<float>)));
  return driver >= kOldestDriver && attributes.ptxVersion >= 90;
}

#define LSTMCORE_INSTANTIATE(S)                                 \
  template void run_gates<S>(const StepArgs<S>&, cudaStream_t); \
  template void finish_projection<S>(const StepArgs<S>&, cudaStream_t);
LSTMCORE_INSTANTIATE(float)
LSTMCORE_INSTANTIATE(double)
LSTMCORE_INSTANTIATE(float16)
LSTMCORE_INSTANTIATE(bfloat16)

}  // namespace cuda
}  // namespace lstmcore
