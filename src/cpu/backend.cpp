#include "cpu/backend.h"

#include <omp.h>

#include <algorithm>

#include "cpu/barrier.h"
#include "cpu/denormals.h"
#include "cpu/threads.h"
#include "lstmcore/runtime.h"

namespace lstmcore {
namespace cpu {
namespace {

// Memory of one call, where the caller's does not do; nothing is allocated once the time loop runs.
template <class T>
class Workspace {
 public:
  Workspace(const ForwardArgs<T>& args, const LstmSpec& spec)
      : batch_(args.batch), units_(spec.num_units), outputs_(spec.output_size()) {
    if (!args.h0 || !args.c0) zeros_ = AlignedArray<T>(to_size(std::max(units_, outputs_)));
    if (spec.num_proj) unprojected_ = AlignedArray<T>(to_size(batch_ * units_));
    if (!args.y) hidden_ = AlignedArray<T>(to_size(2 * batch_ * outputs_));
  }

  const T* zeros() const { return zeros_.data(); }
  T* unprojected(std::int64_t n) { return unprojected_.data() ? unprojected_.data() + n * units_ : nullptr; }
  // The hidden state of alternate steps, where the caller does not want all of them.
  T* hidden(std::int64_t step, std::int64_t n) {
    return hidden_.data() + ((step & 1) * batch_ + n) * outputs_;
  }

 private:
  static std::size_t to_size(std::int64_t n) { return static_cast<std::size_t>(n); }
  std::int64_t batch_, units_, outputs_;
  AlignedArray<T> zeros_, unprojected_, hidden_;
};

// Where each row's inputs and outputs of a step are.
template <class T>
class Addresses {
 public:
  Addresses(const ForwardArgs<T>& args, const LstmSpec& spec, Workspace<T>& workspace)
      : args_(args), H_(spec.num_units), P_(spec.output_size()), workspace_(workspace) {}

  std::int64_t length(std::int64_t n) const { return args_.lengths ? args_.lengths[n] : args_.steps; }

  Row<T> row(std::int64_t n, std::int64_t step) const {
    const std::int64_t t = time(n, step);
    Row<T> row;
    row.x = args_.x.at(t, n);
    row.h = step == 0 ? initial(args_.h0, n, P_) : hidden(n, step - 1);
    row.c = step == 0 ? initial(args_.c0, n, H_) : cell(n, step - 1);
    row.c_out = cell(n, step);
    row.projected = hidden(n, step);
    T* unprojected = workspace_.unprojected(n);
    row.h_out = unprojected ? unprojected : row.projected;
    row.gate_offset = (t * args_.batch + n) * H_;
    return row;
  }

  // After the last step of row n: its final state, and zeros in the outputs past its length.
  void finish(std::int64_t n) const {
    const std::int64_t length = this->length(n);
    const T* h = length ? hidden(n, length - 1) : initial(args_.h0, n, P_);
    const T* c = length ? cell(n, length - 1) : initial(args_.c0, n, H_);
    if (args_.h_n && h != args_.h_n + n * P_) std::copy_n(h, P_, args_.h_n + n * P_);
    if (c != args_.c_n + n * H_) std::copy_n(c, H_, args_.c_n + n * H_);
    for (std::int64_t t = length; t < args_.steps; ++t) {
      if (args_.y) std::fill_n(args_.y.at(t, n), P_, T(0));
      if (args_.c_seq) std::fill_n(args_.c_seq.at(t, n), H_, T(0));
    }
  }

 private:
  std::int64_t time(std::int64_t n, std::int64_t step) const {
    return args_.reverse ? length(n) - 1 - step : step;
  }
  const T* initial(const T* state, std::int64_t n, std::int64_t width) const {
    return state ? state + n * width : workspace_.zeros();
  }
  T* hidden(std::int64_t n, std::int64_t step) const {
    return args_.y ? args_.y.at(time(n, step), n) : workspace_.hidden(step, n);
  }
  T* cell(std::int64_t n, std::int64_t step) const {
    return args_.c_seq ? args_.c_seq.at(time(n, step), n) : args_.c_n + n * H_;
  }

  const ForwardArgs<T>& args_;
  std::int64_t H_, P_;
  Workspace<T>& workspace_;
};

// One thread's share of the work: rows of the batch, panels of units, panels of projected outputs.
struct Share {
  std::int64_t row_begin, row_end;
  std::int64_t panel_begin, panel_end;
  std::int64_t projection_begin, projection_end;
  int barrier_team;  // threads to wait for after each phase of a step; 1: none
};

Share share_of(const ThreadPlan& plan, int thread, int team, std::int64_t rows, std::int64_t panels,
               std::int64_t projection_panels) {
  const auto begin = [&](std::int64_t size) { return part_begin(size, thread, team); };
  const auto end = [&](std::int64_t size) { return part_begin(size, thread + 1, team); };
  if (plan.split == Split::rows) return {begin(rows), end(rows), 0, panels, 0, projection_panels, 1};
  return {0, rows, begin(panels), end(panels), begin(projection_panels), end(projection_panels), team};
}

// Rows that are handed to a kernel at once: enough that reading a panel of weights again for the next ones is
// cheap, and few enough to stay on the stack.
constexpr std::int64_t kRowsAtOnce = 96;

// Calls kernel(rows, n) for the rows of the share that are running at `step`.
template <class T, class Kernel>
void for_running_rows(const Addresses<T>& addresses, const Share& share, std::int64_t step,
                      const Kernel& kernel) {
  Row<T> rows[kRowsAtOnce];
  std::int64_t running = 0;
  for (std::int64_t n = share.row_begin; n < share.row_end; ++n) {
    if (step < addresses.length(n)) rows[running++] = addresses.row(n, step);
    if (running == kRowsAtOnce || n + 1 == share.row_end) {
      kernel(rows, running);
      running = 0;
    }
  }
}

template <class T>
void run_steps(const KernelsOf<T>& kernels, const StepArgs<T>& args, const Addresses<T>& addresses,
               const Share& share, SpinBarrier& barrier) {
  std::int64_t longest = 0;
  for (std::int64_t n = share.row_begin; n < share.row_end; ++n)
    longest = std::max(longest, addresses.length(n));
  for (std::int64_t step = 0; step < longest; ++step) {
    for_running_rows(addresses, share, step, [&](const Row<T>* rows, std::int64_t n) {
      kernels.step(args, rows, n, share.panel_begin, share.panel_end);
    });
    if (share.barrier_team > 1) barrier.wait(share.barrier_team);
    if (!args.project) continue;
    for_running_rows(addresses, share, step, [&](const Row<T>* rows, std::int64_t n) {
      kernels.project(args, rows, n, share.projection_begin, share.projection_end);
    });
    if (share.barrier_team > 1) barrier.wait(share.barrier_team);
  }
}

}  // namespace

template <class T>
Backend<T>::Backend(const LstmSpec& spec, const LstmWeights<T>& weights, const Kernels& kernels)
    : spec_(spec),
      isa_(kernels.isa),
      kernels_(kernels_of<T>(kernels)),
      packed_(pack(spec, weights, kernels_.lanes)) {}

template <class T>
StepArgs<T> Backend<T>::step_args(const GateOutputs<T>& gates) const {
  StepArgs<T> args;
  args.I = spec_.input_size;
  args.H = spec_.num_units;
  args.P = spec_.output_size();
  args.weights = packed_.weights.data();
  args.bias = packed_.bias.data();
  args.peepholes = packed_.peepholes.data();
  args.project = packed_.projection_panels > 0;
  args.projection = packed_.projection.data();
  args.projection_bias = packed_.projection_bias.data();
  args.activation = spec_.activation;
  args.clip_cell = spec_.cell_clip.has_value();
  args.cell_clip = static_cast<T>(spec_.cell_clip.value_or(0));
  args.clip_projection = spec_.proj_clip.has_value();
  args.proj_clip = static_cast<T>(spec_.proj_clip.value_or(0));
  args.gates = gates;
  return args;
}

template <class T>
void Backend<T>::forward(const ForwardArgs<T>& args) const {
  const std::int64_t H = spec_.num_units, P = spec_.output_size();
  const double multiply_adds = 4.0 * static_cast<double>(H) * static_cast<double>(spec_.input_size + P) +
                               (spec_.num_proj ? static_cast<double>(H) * static_cast<double>(P) : 0.0);
  const int limit = args.threads > 0 ? std::min(args.threads, num_threads()) : num_threads();
  const ThreadPlan plan =
      plan_threads(limit, args.steps, args.batch, kernels_.tile_rows, packed_.panels, multiply_adds);

  Workspace<T> workspace(args, spec_);
  const Addresses<T> addresses(args, spec_, workspace);
  const StepArgs<T> step_args = this->step_args(args.gates);
  SpinBarrier barrier;
  const auto work = [&](int thread, int team) {
    const FlushDenormals flush;
    const Share share = share_of(plan, thread, team, args.batch, packed_.panels, packed_.projection_panels);
    run_steps(kernels_, step_args, addresses, share, barrier);
    for (std::int64_t n = part_begin(args.batch, thread, team); n < part_begin(args.batch, thread + 1, team);
         ++n)
      addresses.finish(n);
  };
  if (plan.threads == 1) return work(0, 1);
#pragma omp parallel num_threads(plan.threads)
  work(omp_get_thread_num(), omp_get_num_threads());
}

template class Backend<float>;
template class Backend<double>;

}  // namespace cpu
}  // namespace lstmcore
