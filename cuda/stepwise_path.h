// The stepwise path: for each time step the recurrent product and the kernel of the gates, as a graph from
// the second call of a shape on.
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

 private:
  void run_steps(bool reverse, std::int64_t N, const Scratch<S>& scratch, const Chunk& chunk,
                 cudaStream_t on);

  Context& context_;
  const lstmcore_cuda_spec& spec_;
  const LayerWeights<S>& weights_;
  GraphCache graphs_;
};

}  // namespace cuda
}  // namespace lstmcore
