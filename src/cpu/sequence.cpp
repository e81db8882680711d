#include "cpu/sequence.h"

#include <algorithm>
#include <utility>

#include "cpu/pool.h"

namespace lstmcore {
namespace cpu {
namespace {

// With this many rows or more, a step does its own input gates; by the bytes of W and R. Measured with an L1
// cache of 32 KiB, an L2 of 1 MiB and an L3 of 32 MiB; weights in L1 are read for nothing, those beyond L2
// cost most. A small register tile reads them more often.
template <class T>
std::int64_t fused_rows(const PackedWeights<T>& packed, int tile_rows) {
  const std::size_t weight_bytes = packed.W.bytes() + packed.R.bytes();
  if (weight_bytes <= 32 << 10) return 1;
  if (tile_rows < 4) return 16;
  return weight_bytes <= 8 << 20 ? 4 : 8;
}
// Bytes of z for one block of steps: they are written and read again, and are to stay in the L2 cache beside
// a share of the weights. At most kMaxZRows, beyond which nothing is gained.
constexpr std::int64_t kZBytes = 256 * 1024;
constexpr std::int64_t kMinZRows = 12, kMaxZRows = 96;

// Rows that are handed to a kernel at once: enough that reading a panel of weights again for the next ones is
// cheap, and few enough to stay on the stack.
constexpr std::int64_t kRowsAtOnce = 96;

// Multiply-adds of a kernel call: between two of them an interruption is polled. What a row and a unit cost
// besides their multiply-adds is counted as so many.
constexpr std::int64_t kCallWork = 1 << 24, kRowWork = 256, kUnitWork = 64;

// Hands the rows added to it to a kernel, for one share of the panels.
template <class T>
class RowBatch {
 public:
  RowBatch(const StepArgs<T>& args, typename KernelsOf<T>::Run kernel, std::int64_t panels, int share,
           int shares, std::int64_t inner, std::int64_t panel_width, Interruption* interruption,
           bool descending = false)
      : args_(args),
        kernel_(kernel),
        interruption_(interruption),
        panel_work_((inner + kUnitWork) * panel_width),
        panels_{part_begin(panels, share, shares), part_begin(panels, share + 1, shares), descending} {}

  void add(const Row<T>& row) {
    rows_[n_++] = row;
    if (n_ == kRowsAtOnce) run();
  }
  void run() {
    if (n_) interruption_ ? run_polling() : kernel_(args_, rows_, n_, panels_);
    n_ = 0;
  }

 private:
  void run_polling() {
    const std::int64_t row_panels = n_ * panel_work_, work = row_panels * (panels_.end - panels_.begin);
    if (work > kCallWork) return run_pieces(std::max<std::int64_t>(1, kCallWork / row_panels));
    if (!interruption_->poll(n_ * kRowWork + work)) kernel_(args_, rows_, n_, panels_);
  }

  // So many panels at once.
  void run_pieces(std::int64_t size) {
    for (Panels left = panels_; left.begin < left.end;) {
      Panels piece = left;
      if (left.descending)
        left.end = piece.begin = std::max(left.begin, left.end - size);
      else
        left.begin = piece.end = std::min(left.begin + size, left.end);
      if (interruption_->poll(n_ * (kRowWork + panel_work_ * (piece.end - piece.begin)))) return;
      kernel_(args_, rows_, n_, piece);
    }
  }

  const StepArgs<T>& args_;
  typename KernelsOf<T>::Run kernel_;
  Interruption* interruption_;
  std::int64_t panel_work_;  // of one row
  Panels panels_;
  std::int64_t n_ = 0;
  Row<T> rows_[kRowsAtOnce];
};

// How many rows of z, of so many bytes, to compute at once; 0: none.
template <class T>
std::int64_t rows_of_z(const ForwardArgs<T>& args, std::int64_t fused_rows, std::int64_t row_bytes,
                       const ThreadPlan& plan) {
  const bool few_rows = args.batch < fused_rows || args.lengths || args.offsets;
  // Groups of rows would each need a z of their own, and are never this small.
  const bool groups = plan.split == Split::rows && plan.threads > 1;
  if (!few_rows || groups || fused_rows == 1 || args.steps < 2 || row_bytes == 0) return 0;
  const std::int64_t most = std::min(std::max(kZBytes / row_bytes, kMinZRows), kMaxZRows);
  return std::min(most, std::min(most, args.steps) * args.batch);
}

template <class T>
StepArgs<T> make_step_args(const PackedWeights<T>& packed, const LstmSpec& spec,
                           const GateOutputs<T>& gates) {
  StepArgs<T> args;
  args.I = spec.input_size;
  args.H = spec.num_units;
  args.P = spec.output_size();
  args.W = packed.W.data();
  args.R = packed.R.data();
  args.bias = packed.bias.data();
  args.peepholes = packed.peepholes.data();
  args.project = packed.projection_panels > 0;
  args.projection = packed.projection.data();
  args.projection_bias = packed.projection_bias.data();
  args.activation = spec.activation;
  args.recurrent_activation = spec.recurrent_activation;
  args.clip_cell = spec.cell_clip.has_value();
  args.cell_clip = static_cast<T>(spec.cell_clip.value_or(0));
  args.clip_projection = spec.proj_clip.has_value();
  args.proj_clip = static_cast<T>(spec.proj_clip.value_or(0));
  args.gates = gates;
  return args;
}

// The steps of a thread's calls before this one: calls of one step are to alternate, too.
std::int64_t count_steps(std::int64_t steps) {
  thread_local std::uint64_t all = 0;  // wraps
  return static_cast<std::int64_t>(std::exchange(all, all + static_cast<std::uint64_t>(steps)));
}

// Elements of z for one row at one step.
template <class T>
std::int64_t z_size(const PackedWeights<T>& packed, const KernelsOf<T>& kernels) {
  return packed.panels * kGates * kernels.lanes;
}
template <class T>
std::int64_t z_bytes(const PackedWeights<T>& packed, const KernelsOf<T>& kernels) {
  return z_size(packed, kernels) * static_cast<std::int64_t>(sizeof(T));
}

}  // namespace

template <class T>
SequenceRun<T>::SequenceRun(const KernelsOf<T>& kernels, const PackedWeights<T>& packed, const LstmSpec& spec,
                            const ForwardArgs<T>& args, const ThreadPlan& plan)
    : kernels_(kernels),
      packed_(packed),
      args_(args),
      plan_(plan),
      fused_rows_(fused_rows(packed, kernels.tile_rows)),
      z_rows_(rows_of_z(args, fused_rows_, z_bytes(packed, kernels), plan)),
      scratch_(args, spec, z_rows_ * z_size(packed, kernels)),
      rows_(args_, spec, scratch_),
      step_args_(make_step_args(packed, spec, args.gates)),
      steps_before_(count_steps(args.steps)),
      slots_(args.batch) {
  if (!rows_.ragged()) return;
  for (std::int64_t n = 0; n < args.batch; ++n) scratch_.slot_rows[n] = {n, rows_.length(n), 0};
  slots_ = make_slots(scratch_.slot_rows, args.batch, scratch_.slots);
}

template <class T>
std::size_t SequenceRun<T>::scratch_bytes(const KernelsOf<T>& kernels, const PackedWeights<T>& packed,
                                          const LstmSpec& spec, const ForwardArgs<T>& args,
                                          const ThreadPlan& plan) {
  const std::int64_t z_rows =
      rows_of_z(args, fused_rows(packed, kernels.tile_rows), z_bytes(packed, kernels), plan);
  return Scratch<T>::bytes(args, spec, z_rows * z_size(packed, kernels));
}

template <class T>
void SequenceRun<T>::run() const {
  if (step_args_.H == 0 && step_args_.P == 0) return;  // however many steps and rows of nothing there are
  if (plan_.threads == 1 || plan_.split == Split::units) {
    struct Job {
      const SequenceRun& run;
      const RowSet<T> rows;
      const Schedule schedule;
    } const job = {*this, all_rows(), schedule(all_rows())};
    const auto work = [](const void* of, std::int64_t phase, int share) {
      const Job& job = *static_cast<const Job*>(of);
      job.run.run_phase(job.rows, job.schedule, phase, share, job.run.plan_.threads);
    };
    run_phases(plan_.threads, job.schedule.phases(), work, &job, args_.interruption);
    if (!ended()) job.rows.finish();
  } else {
    const auto work = [](const void* of, std::int64_t, int share) {
      const SequenceRun& run = *static_cast<const SequenceRun*>(of);
      run.run_alone(run.share_of_rows(share));
    };
    run_phases(plan_.threads, 1, work, this, args_.interruption);
  }
}

template <class T>
void SequenceRun<T>::run_alone(const RowSet<T>& rows) const {
  const Schedule schedule = this->schedule(rows);
  for (std::int64_t phase = 0; phase < schedule.phases() && !ended(); ++phase)
    run_phase(rows, schedule, phase, 0, 1);
  if (!ended()) rows.finish();
}

template <class T>
RowSet<T> SequenceRun<T>::all_rows() const {
  return RowSet<T>(rows_, scratch_.slots, 0, 1, slots_);
}

// Slots are dealt out in turn, so that every share has long and short ones.
template <class T>
RowSet<T> SequenceRun<T>::share_of_rows(int share) const {
  const std::int64_t shares = plan_.threads;
  if (rows_.ragged())
    return RowSet<T>(rows_, scratch_.slots, share, shares,
                     std::max<std::int64_t>(slots_ - share + shares - 1, 0) / shares);
  const std::int64_t begin = part_begin(slots_, share, plan_.threads);
  return RowSet<T>(rows_, nullptr, begin, 1, part_begin(slots_, share + 1, plan_.threads) - begin);
}

template <class T>
typename SequenceRun<T>::Schedule SequenceRun<T>::schedule(const RowSet<T>& rows) const {
  const std::int64_t steps = rows.longest();
  std::int64_t fused = steps;
  if (z_rows_ > 0 && rows.size() < fused_rows_)
    fused = 0;
  else if (z_rows_ > 0)
    fused = rows.length(fused_rows_ - 1);  // from there on fewer rows run
  const std::int64_t running = rows.running(fused);
  return {steps, fused, running ? z_rows_ / running : 1, running, step_args_.project ? 2 : 1};
}

template <class T>
std::int64_t SequenceRun<T>::Schedule::phases() const {
  const std::int64_t ahead = steps - fused;
  return stages * steps + (ahead + block - 1) / block;
}

template <class T>
void SequenceRun<T>::run_phase(const RowSet<T>& rows, const Schedule& schedule, std::int64_t phase, int share,
                               int shares) const {
  const std::int64_t fused_phases = schedule.stages * schedule.fused;
  std::int64_t step = phase / schedule.stages, stage = phase % schedule.stages;
  if (phase >= fused_phases) {
    const std::int64_t block_phases = 1 + schedule.stages * schedule.block;
    const std::int64_t block = (phase - fused_phases) / block_phases,
                       within = (phase - fused_phases) % block_phases;
    const std::int64_t begin = schedule.fused + block * schedule.block;
    if (within == 0) return input_gates(rows, schedule, begin, share, shares);
    step = begin + (within - 1) / schedule.stages;
    stage = (within - 1) % schedule.stages;
  }
  if (stage == 0)
    this->step(rows, schedule, step, share, shares);
  else
    project(rows, step, share, shares);
}

template <class T>
Row<T> SequenceRun<T>::row_with_z(const RowSet<T>& rows, const Schedule& schedule, std::int64_t k,
                                  std::int64_t step) const {
  Row<T> row = rows.at(k, step);
  row.z =
      scratch_.z + ((step - schedule.fused) % schedule.block * schedule.rows + k) * z_size(packed_, kernels_);
  return row;
}

template <class T>
void SequenceRun<T>::input_gates(const RowSet<T>& rows, const Schedule& schedule, std::int64_t begin,
                                 int share, int shares) const {
  RowBatch<T> batch(step_args_, kernels_.input_gates, packed_.panels, share, shares, step_args_.I,
                    panel_width(), args_.interruption);
  for (std::int64_t step = begin; step < std::min(begin + schedule.block, schedule.steps); ++step)
    for (std::int64_t k = 0, n = rows.running(step); k < n; ++k)
      batch.add(row_with_z(rows, schedule, k, step));
  batch.run();
}

template <class T>
void SequenceRun<T>::step(const RowSet<T>& rows, const Schedule& schedule, std::int64_t step, int share,
                          int shares) const {
  const bool ahead = step >= schedule.fused;
  // Every other step begins with the panels that the step before has read last: of weights larger than a
  // cache, some are in it still.
  const bool descending = (steps_before_ + step) & 1;
  RowBatch<T> batch(step_args_, ahead ? kernels_.recurrent_step : kernels_.step, packed_.panels, share,
                    shares, step_args_.P + (ahead ? 0 : step_args_.I), panel_width(), args_.interruption,
                    descending);
  for (std::int64_t k = 0, n = rows.running(step); k < n; ++k)
    batch.add(ahead ? row_with_z(rows, schedule, k, step) : rows.at(k, step));
  batch.run();
}

template <class T>
void SequenceRun<T>::project(const RowSet<T>& rows, std::int64_t step, int share, int shares) const {
  RowBatch<T> batch(step_args_, kernels_.project, packed_.projection_panels, share, shares, step_args_.H,
                    panel_width(), args_.interruption);
  for (std::int64_t k = 0, n = rows.running(step); k < n; ++k) batch.add(rows.at(k, step));
  batch.run();
}

template class SequenceRun<float>;
template class SequenceRun<double>;

}  // namespace cpu
}  // namespace lstmcore
