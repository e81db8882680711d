#include "cpu/backend.h"

#include <algorithm>

#include "cpu/sequence.h"
#include "lstmcore/runtime.h"

namespace lstmcore {
namespace cpu {

template <class T>
Backend<T>::Backend(const LstmSpec& spec, const LstmWeights<T>& weights, const Kernels& kernels)
    : spec_(spec),
      isa_(kernels.isa),
      kernels_(kernels_of<T>(kernels)),
      packed_(pack(spec, weights, kernels_.lanes)) {}

template <class T>
ThreadPlan Backend<T>::plan(const ForwardArgs<T>& args, int limit) const {
  const std::int64_t H = spec_.num_units, P = spec_.output_size();
  const double multiply_adds = 4.0 * static_cast<double>(H) * static_cast<double>(spec_.input_size + P) +
                               (spec_.num_proj ? static_cast<double>(H) * static_cast<double>(P) : 0.0);
  return plan_threads(limit, args.steps, args.batch, kernels_.tile_rows, packed_.panels, multiply_adds);
}

template <class T>
void Backend<T>::forward(const ForwardArgs<T>& args) const {
  const int limit = args.threads > 0 ? std::min(args.threads, num_threads()) : num_threads();
  SequenceRun<T>(kernels_, packed_, spec_, args, plan(args, limit)).run();
}

template class Backend<float>;
template class Backend<double>;

}  // namespace cpu
}  // namespace lstmcore
