#include "cpu/backend.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include "cpu/pool.h"
#include "cpu/sequence.h"
#include "lstmcore/runtime.h"

namespace lstmcore {
namespace cpu {
namespace {

template <class T>
int thread_limit(const ForwardArgs<T>& args, int process_limit) {
  return args.threads > 0 ? std::min(args.threads, process_limit) : process_limit;
}

template <class T>
void end_if_requested(const ForwardArgs<T>& args) {
  if (args.interruption) args.interruption->throw_if_requested();
}

// Time steps of all rows together.
template <class T>
double row_steps(const ForwardArgs<T>& args) {
  if (args.lengths) return std::accumulate(args.lengths, args.lengths + args.batch, 0.0);
  if (args.offsets) return static_cast<double>(args.offsets[args.batch]);
  return static_cast<double>(args.steps) * static_cast<double>(args.batch);
}

// Rows that run side by side: those of a ragged batch follow one another in slots (slots.h).
template <class T>
std::int64_t rows_at_once(const ForwardArgs<T>& args) {
  if (!args.lengths && !args.offsets) return args.batch;
  std::int64_t longest = 1;
  for (std::int64_t n = 0; n < args.batch; ++n)
    longest = std::max(longest, args.lengths ? args.lengths[n] : args.offsets[n + 1] - args.offsets[n]);
  return static_cast<std::int64_t>(row_steps(args) / static_cast<double>(longest));
}

}  // namespace

template <class T>
Backend<T>::Backend(const LstmSpec& spec, const LstmWeights<T>& weights, const Kernels& kernels,
                    Interruption* interruption)
    : spec_(spec),
      isa_(kernels.isa),
      kernels_(kernels_of<T>(kernels)),
      packed_(pack(spec, weights, kernels_.lanes, interruption)) {}

template <class T>
double Backend<T>::multiply_adds(const ForwardArgs<T>& args) const {
  const double I = static_cast<double>(spec_.input_size), H = static_cast<double>(spec_.num_units),
               P = static_cast<double>(spec_.output_size());
  return row_steps(args) * (4 * H * (I + P) + (spec_.num_proj ? H * P : 0));
}

template <class T>
ThreadPlan Backend<T>::plan(const ForwardArgs<T>& args) const {
  const double work = multiply_adds(args);
  const auto planned = [&](int process_limit) {
    return plan_threads(thread_limit(args, process_limit), work, args.steps, rows_at_once(args),
                        kernels_.tile_rows, packed_.panels);
  };
  if (args.interruption && in_forked_child() && planned(num_threads_but_for_fork()).threads > 1 &&
      take_serial_notice())
    args.interruption->tell_serial();
  return planned(num_threads());
}

template <class T>
void Backend<T>::forward(const ForwardArgs<T>& args) const {
  SequenceRun<T>(kernels_, packed_, spec_, args, plan(args)).run();
  end_if_requested(args);
}

template <class T>
std::size_t Backend<T>::scratch_bytes(const ForwardArgs<T>& args) const {
  // Side by side with another call (forward_all) it has one thread, and may take more than with several.
  const auto bytes = [&](const ThreadPlan& plan) {
    return SequenceRun<T>::scratch_bytes(kernels_, packed_, spec_, args, plan);
  };
  return std::max(bytes(plan(args)), bytes({1, Split::rows}));
}

template <class T>
void forward_all(const BackendCall<T>* calls, int n) {
  int limit = num_threads();
  double multiply_adds = 0;
  for (int k = 0; k < n; ++k) {
    limit = std::min(limit, thread_limit(*calls[k].args, limit));
    multiply_adds += calls[k].backend->multiply_adds(*calls[k].args);
  }
  // With more threads it is better that all of them share each call: none waits for the longest one.
  const bool one_by_one = limit < 2 || limit >= 2 * n || !worth_threads(multiply_adds);
  // All of them before the first one runs, so that none is short of memory once there are results.
  using Run = std::optional<SequenceRun<T>>;
  Run two[2];
  std::vector<Run> many(n > 2 ? static_cast<std::size_t>(n) : 0);
  Run* const runs = n > 2 ? many.data() : two;
  for (int k = 0; k < n; ++k) {
    const Backend<T>& backend = *calls[k].backend;
    runs[k].emplace(backend.kernels_, backend.packed_, backend.spec_, *calls[k].args,
                    one_by_one ? backend.plan(*calls[k].args) : ThreadPlan{1, Split::rows});
  }
  if (one_by_one) {
    for (int k = 0; k < n; ++k) {
      runs[k]->run();
      end_if_requested(*calls[k].args);
    }
    return;
  }
  const auto work = [](const void* of, std::int64_t, int share) {
    static_cast<const Run*>(of)[share]->run();
  };
  run_phases(n, 1, work, runs, calls->args->interruption);
  end_if_requested(*calls->args);
}

template class Backend<float>;
template class Backend<double>;
template void forward_all(const BackendCall<float>*, int);
template void forward_all(const BackendCall<double>*, int);

}  // namespace cpu
}  // namespace lstmcore
