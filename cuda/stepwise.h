// The kernels of the stepwise path: what follows the two matrix products of a time step.
#pragma once

#include <cuda_runtime.h>

#include "cell.h"

namespace lstmcore {
namespace cuda {

// Where a call writes. In device memory, so that a captured graph serves calls with other arrays.
struct StepOutputs {
  std::int64_t first;  // position of the chunk's first step in the sequence
  const int* lengths;  // [N], or null
  void* y;             // or null
  std::int64_t y_step, y_row;
  void* c_seq;  // or null
  std::int64_t c_step, c_row;
};

// One time step of a layer. A is Accumulator<S>.
template <class S>
struct StepArgs {
  using A = Accumulator<S>;
  std::int64_t N, H, P;
  std::int64_t position;  // in the chunk
  CellArgs<A> cell;
  const A* pre;  // x W + h R, [N, H, 4] with this distance between rows
  std::int64_t pre_row;
  A* c;                // [N, H], updated
  S* h;                // [N, P], updated: without a projection
  S* m;                // [N, H], h before its projection; null without one
  const A* projected;  // [N, P]: m times the projection
  bool clip;           // of the projection
  A clip_limit;
  const StepOutputs* outputs;
};

// Each enqueues one kernel. Throws Error.
void set_outputs(StepOutputs* to, const StepOutputs& outputs, cudaStream_t stream);
template <class S>
void run_gates(const StepArgs<S>& args, cudaStream_t stream);
template <class S>
void finish_projection(const StepArgs<S>& args, cudaStream_t stream);

}  // namespace cuda
}  // namespace lstmcore
