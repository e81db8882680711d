// How the kernels of the stepwise path finish a unit of a row: state, sequences, rows that have ended.
#pragma once

#include "stepwise.h"

namespace lstmcore {
namespace cuda {

template <class S>
__device__ __forceinline__ StepOutputs outputs_of(const StepArgs<S>& args) {
  return args.outputs_in_memory ? *args.outputs_in_memory : args.outputs;
}

__device__ __forceinline__ bool row_runs(const StepOutputs& out, std::int64_t position, std::int64_t n) {
  return !out.lengths || out.first + position < out.lengths[n];
}

// Writes h of a step, where it is in the sequence and where the next step reads it.
template <class S>
__device__ __forceinline__ void write_h(const StepArgs<S>& args, const StepOutputs& out,
                                        std::int64_t position, std::int64_t n, std::int64_t column,
                                        Accumulator<S> h) {
  const std::int64_t index = n * args.P + column;
  const bool runs = row_runs(out, position, n);
  const S stored = store<S>(h);
  if (args.h) args.h[index] = runs ? stored : args.h_before ? args.h_before[index] : store<S>(0);
  if (out.y)
    static_cast<S*>(out.y)[(out.first + position) * out.y_step + n * out.y_row + column] =
        runs ? stored : store<S>(0);
}

// `pre` with the bias inside.
template <class S>
__device__ __forceinline__ void finish_unit(const StepArgs<S>& args,
                                            const CellOptions<Accumulator<S>>& options,
                                            Pre<Accumulator<S>> pre, std::int64_t n, std::int64_t unit) {
  using A = Accumulator<S>;
  const StepOutputs out = outputs_of(args);
  const bool runs = row_runs(out, args.position, n);
  const std::int64_t index = n * args.H + unit;
  const A before = args.c_before ? args.c_before[index] : A(0);
  const CellState<A> state = run_cell(options, pre, before);
  args.c[index] = runs ? state.c : before;
  if (out.c_seq)
    static_cast<A*>(out.c_seq)[(out.first + args.position) * out.c_step + n * out.c_row + unit] =
        runs ? state.c : A(0);
  if (args.m)
    args.m[index] = store<S>(state.h);
  else
    write_h(args, out, args.position, n, unit, state.h);
}

}  // namespace cuda
}  // namespace lstmcore
