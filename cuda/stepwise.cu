#include "plan.h"
#include "status.h"
#include "stepwise.h"

namespace lstmcore {
namespace cuda {
namespace {

__global__ void set_outputs_kernel(StepOutputs* to, StepOutputs outputs) { *to = outputs; }

// Writes h of a step, where it is in the sequence and where the next step reads it.
template <class S>
__device__ __forceinline__ void write_h(const StepArgs<S>& args, const StepOutputs& out, std::int64_t n,
                                        std::int64_t column, bool runs, Accumulator<S> h) {
  const S stored = store<S>(h);
  if (runs) args.h[n * args.P + column] = stored;
  if (out.y)
    static_cast<S*>(out.y)[(out.first + args.position) * out.y_step + n * out.y_row + column] =
        runs ? stored : store<S>(0);
}

template <class S>
__device__ __forceinline__ bool row_runs(const StepArgs<S>& args, const StepOutputs& out, std::int64_t n) {
  return !out.lengths || out.first + args.position < out.lengths[n];
}

// One thread per unit of a row.
template <class S>
__global__ void __launch_bounds__(kThreads) gates_kernel(const __grid_constant__ StepArgs<S> args) {
  using A = Accumulator<S>;
  const std::int64_t index = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= args.N * args.H) return;
  const std::int64_t n = index / args.H, unit = index % args.H;
  const StepOutputs out = *args.outputs;
  const bool runs = row_runs(args, out, n);
  const Pre<A> pre = reinterpret_cast<const Pre<A>*>(args.pre + n * args.pre_row)[unit] +
                     reinterpret_cast<const Pre<A>*>(args.cell.bias)[unit];
  const CellState<A> state = run_cell(cell_options(args.cell, unit), pre, args.c[index]);
  if (runs) args.c[index] = state.c;
  if (out.c_seq)
    static_cast<A*>(out.c_seq)[(out.first + args.position) * out.c_step + n * out.c_row + unit] =
        runs ? state.c : A(0);
  if (args.m)
    args.m[index] = store<S>(state.h);
  else
    write_h(args, out, n, unit, runs, state.h);
}

// One thread per output of a row.
template <class S>
__global__ void __launch_bounds__(kThreads) projection_kernel(const __grid_constant__ StepArgs<S> args) {
  const std::int64_t index = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= args.N * args.P) return;
  const std::int64_t n = index / args.P;
  const StepOutputs out = *args.outputs;
  Accumulator<S> h = args.projected[index];
  if (args.clip) h = clip(h, -args.clip_limit, args.clip_limit);
  write_h(args, out, n, index % args.P, row_runs(args, out, n), h);
}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), std::int64_t threads, cudaStream_t stream,
            const Arguments&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(unsigned((threads + kThreads - 1) / kThreads));
  config.blockDim = dim3(threads == 1 ? 1 : kThreads);
  config.stream = stream;
  LSTMCORE_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, arguments...));
}

}  // namespace

void set_outputs(StepOutputs* to, const StepOutputs& outputs, cudaStream_t stream) {
  launch(set_outputs_kernel, 1, stream, to, outputs);
}

template <class S>
void run_gates(const StepArgs<S>& args, cudaStream_t stream) {
  launch(gates_kernel<S>, args.N * args.H, stream, args);
}

template <class S>
void finish_projection(const StepArgs<S>& args, cudaStream_t stream) {
  launch(projection_kernel<S>, args.N * args.P, stream, args);
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
