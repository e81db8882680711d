// The stepwise path: for each time step the recurrent product and the kernel of the gates, or one kernel for
// both where there are few rows; as a graph from the second call of a shape on.
#pragma once

#include "context.h"
#include "graph_cache.h"
#include "scratch.h"
#include "weights.h"

namespace lstmcore {
namespace cuda {

template <class S>
class StepwisePath {
 public:
  StepwisePath(Context& context, const lstmcore_cuda_spec& spec, const LayerWeights<S>& weights)
      : context_(context), spec_(spec), weights_(weights) {}

  // The steps of a chunk, whose x W is in the scratch memory.
  void run(const lstmcore_cuda_forward& args, const Scratch<S>& scratch, const Chunk& chunk,
           const Context::Call& call);
  // A call of one step and 1 to kFewRows rows: from the caller's arrays to the caller's arrays in one kernel,
  // and two more for a projection.
  void run_cell(const lstmcore_cuda_forward& args, const Scratch<S>& scratch);

 private:
  StepArgs<S> step_args(std::int64_t N, const Scratch<S>& scratch) const;
  void run_steps(StepArgs<S> step, bool reverse, const Scratch<S>& scratch, const Chunk& chunk,
                 cudaStream_t on);
  void project(StepArgs<S>& step, const Scratch<S>& scratch, cudaStream_t on);

  Context& context_;
  const lstmcore_cuda_spec& spec_;
  const LayerWeights<S>& weights_;
  GraphCache graphs_;
};

}  // namespace cuda
}  // namespace lstmcore
