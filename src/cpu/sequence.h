// One call over the time steps of a batch, as phases that threads share (pool.h).
//
// The head of each step, z = x W + b, does not wait for the step before. Where few rows run, every weight
// that is read serves few multiply-adds and reading is what takes the time: then the heads of a block of
// steps are computed at once, as one matrix product, and the steps read R only. Where many rows run, W is
// read once for all of them anyway, and the step does both. The order of additions is the same, so the choice
// cannot be seen in the results.
#pragma once

#include <cstdint>

#include "cpu/kernel.h"
#include "cpu/pack.h"
#include "cpu/rows.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"

namespace lstmcore {
namespace cpu {

template <class T>
class SequenceRun {
 public:
  // All are read until run() returns. Throws std::bad_alloc.
  SequenceRun(const KernelsOf<T>& kernels, const PackedWeights<T>& packed, const LstmSpec& spec,
              const ForwardArgs<T>& args, const ThreadPlan& plan);

  // Returns early, with outputs half written, once the interruption of the call is requested.
  void run() const;

  // What its scratch memory takes.
  static std::size_t scratch_bytes(const KernelsOf<T>& kernels, const PackedWeights<T>& packed,
                                   const LstmSpec& spec, const ForwardArgs<T>& args, const ThreadPlan& plan);

 private:
  // The phases that a set of rows goes through: of each step its own, before them the input gates of a block
  // of steps from step `fused` on.
  struct Schedule {
    std::int64_t steps;   // of the longest row
    std::int64_t fused;   // steps before this one do their own input gates
    std::int64_t block;   // steps whose input gates are computed at once
    std::int64_t rows;    // that run at step `fused`
    std::int64_t stages;  // phases of one step: 2 with a projection
    std::int64_t phases() const;
  };
  Schedule schedule(const RowSet<T>& rows) const;
  RowSet<T> all_rows() const;
  RowSet<T> share_of_rows(int share) const;

  void run_alone(const RowSet<T>& rows) const;
  bool ended() const { return args_.interruption && args_.interruption->requested(); }
  std::int64_t panel_width() const { return kGates * kernels_.lanes; }  // in columns of weights

  void run_phase(const RowSet<T>& rows, const Schedule& schedule, std::int64_t phase, int share,
                 int shares) const;
  void input_gates(const RowSet<T>& rows, const Schedule& schedule, std::int64_t begin, int share,
                   int shares) const;
  void step(const RowSet<T>& rows, const Schedule& schedule, std::int64_t step, int share, int shares) const;
  void project(const RowSet<T>& rows, std::int64_t step, int share, int shares) const;
  Row<T> row_with_z(const RowSet<T>& rows, const Schedule& schedule, std::int64_t k, std::int64_t step) const;

  const KernelsOf<T>& kernels_;
  const PackedWeights<T>& packed_;
  const ForwardArgs<T>& args_;
  ThreadPlan plan_;
  std::int64_t fused_rows_;  // where so many run, a step does its own input gates
  std::int64_t z_rows_;      // heads of steps that are computed at once; 0: none are
  Scratch<T> scratch_;
  Rows<T> rows_;
  StepArgs<T> step_args_;
  std::int64_t steps_before_;  // odd: the first step goes through the panels in descending order
  std::int64_t slots_;         // of a ragged batch, else rows
};

}  // namespace cpu
}  // namespace lstmcore
