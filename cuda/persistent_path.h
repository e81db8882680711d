// The persistent path: a chunk of steps as one launch.
//
// With a projection, h = m P, and so h R = m (P R): the kernels run on m, of width H, with P R in the place
// of R, as if there were no projection. h is computed afterwards, for all steps of a chunk at once. Only the
// h that a call begins with is no m P: its product with R is added to x W of each row's first step, and m is
// 0 there. A clip of the projection would come between P and R.
#pragma once

#include "context.h"
#include "scratch.h"
#include "weights.h"

namespace lstmcore {
namespace cuda {

// S is not double.
template <class S>
class PersistentPath {
 public:
  PersistentPath(Context& context, const lstmcore_cuda_spec& spec, LayerWeights<S>& weights)
      : context_(context), spec_(spec), weights_(weights) {}

  // Before the first chunk, with the initial state in the scratch memory.
  void start(const lstmcore_cuda_forward& args, const Scratch<S>& scratch);
  // The steps of a chunk, whose x W is in the scratch memory.
  void run(const lstmcore_cuda_forward& args, const lstmcore_cuda_plan& plan, Scratch<S>& scratch,
           const Chunk& chunk);
  // After the last chunk: the final h is where the initial one was.
  void finish(const lstmcore_cuda_forward& args, const Scratch<S>& scratch);

 private:
  void launch(const lstmcore_cuda_forward& args, const lstmcore_cuda_plan& plan, const Scratch<S>& scratch,
              const Chunk& chunk);
  void add_initial(const lstmcore_cuda_forward& args, const Scratch<S>& scratch, const Chunk& chunk);
  StepArgs<S> project(const lstmcore_cuda_forward& args, const Scratch<S>& scratch, const S* m,
                      Accumulator<S>* projected, std::int64_t steps);

  Context& context_;
  const lstmcore_cuda_spec& spec_;
  LayerWeights<S>& weights_;
};

}  // namespace cuda
}  // namespace lstmcore
