// The kernels of the stepwise path: what follows the two matrix products of a time step, and for few rows the
// products too.
#pragma once

#include <cuda_runtime.h>

#include "cell.h"

namespace lstmcore {
namespace cuda {

constexpr int kFewRows = 4;  // up to which run_fused serves

// Where a call writes.
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
  std::int64_t position;   // in the chunk
  std::int64_t steps = 1;  // from there on, of finish_projection
  CellArgs<A> cell;
  const A* pre;  // x W + h R (run_fused: x W), [N, H, 4] with this distance between rows; may be null there
  std::int64_t pre_row;
  const A* c_before;   // [N, H], or null for zeros
  const S* h_before;   // [N, P], or null for zeros
  A* c;                // [N, H]; may be c_before
  S* h;                // [N, P]; may be h_before, but in run_fused without a projection; null: not wanted
  S* m;                // [N, H], h before its projection; null without one
  const A* projected;  // [steps, N, P]: m times the projection
  bool clip;           // of the projection
  A clip_limit;
  StepOutputs outputs;
  const StepOutputs* outputs_in_memory;  // instead: so that a captured graph serves calls with other arrays
  bool overlaps;                         // Context::overlaps, and the kernel ahead belongs to this step
};

// What run_fused multiplies.
template <class S>
struct StepWeights {
  const S *W, *R;  // [I, H, 4], [P, H, 4]
  const S* x;      // [N, I] with this distance between rows; null where x W is in `pre`
  std::int64_t I, x_row;
};

// Each enqueues one kernel. Throws Error.
void set_outputs(StepOutputs* to, const StepOutputs& outputs, cudaStream_t stream);
template <class S>
void run_gates(const StepArgs<S>& args, cudaStream_t stream);
template <class S>
void finish_projection(const StepArgs<S>& args, cudaStream_t stream);
// N up to kFewRows: x W, h R and the gates, with each weight read once.
template <class S>
void run_fused(const StepArgs<S>& args, const StepWeights<S>& weights, cudaStream_t stream);

// Whether the code that the current device runs has wait_for_kernel_before, and not an older one that was
// translated for it; and the driver can have kernels that overlap in a graph.
bool kernels_can_wait();

}  // namespace cuda
}  // namespace lstmcore
