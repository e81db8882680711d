// The persistent path: a chunk of steps as one launch.
#pragma once

#include "persistent.h"
#include "scratch.h"
#include "status.h"
#include "weights.h"

namespace lstmcore {
namespace cuda {

constexpr std::uint64_t kPatience = 2'000'000'000;  // nanoseconds a block waits for another

// The part of the sequence from a step on.
inline lstmcore_cuda_sequence from_step(lstmcore_cuda_sequence sequence, std::int64_t first,
                                        std::size_t bytes) {
  if (sequence.data)
    sequence.data = static_cast<char*>(sequence.data) + first * sequence.step_stride * std::int64_t(bytes);
  return sequence;
}

// The steps of a chunk, whose x W is in the scratch memory. S is not double.
template <class S>
void run_persistent(const lstmcore_cuda_spec& spec, LayerWeights<S>& weights,
                    const lstmcore_cuda_forward& args, const lstmcore_cuda_plan& plan,
                    const Scratch<S>& scratch, const Chunk& chunk, int* fault) {
  using A = Accumulator<S>;
  const auto stream = static_cast<cudaStream_t>(args.stream);
  PersistentArgs call{};
  call.T = chunk.steps;
  call.N = args.batch;
  call.H = spec.num_units;
  call.tiling = tiling_of(plan, spec);
  call.rows = plan.rows_per_group;
  call.cell = weights.cell(spec);
  call.words = weights.packed(call.tiling, spec.math);
  call.projected = reinterpret_cast<const Pre<float>*>(scratch.projected);
  call.projected_step = chunk.step / 4;
  call.projected_row = chunk.row / 4;
  call.c0 = scratch.c;
  call.h0 = scratch.h;
  call.c_n = scratch.c;
  call.h_n = scratch.h_next;  // other blocks may still read h0
  call.first = chunk.first;
  call.lengths = args.lengths ? scratch.lengths : nullptr;
  call.reverse = args.reverse;
  const lstmcore_cuda_sequence y = from_step(args.y, chunk.first, sizeof(S));
  const lstmcore_cuda_sequence c_seq = from_step(args.c_seq, chunk.first, sizeof(A));
  call.y = y.data;
  call.y_step = y.step_stride;
  call.y_row = y.row_stride;
  call.c_seq = static_cast<float*>(c_seq.data);
  call.c_step = c_seq.step_stride;
  call.c_row = c_seq.row_stride;
  call.exchange = scratch.exchange;
  call.fault = fault;
  call.patience = kPatience;
  if (plan.exchange_bytes)
    LSTMCORE_CUDA_CHECK(
        cudaMemsetAsync(scratch.exchange, 0xff, std::size_t(chunk.steps) * plan.exchange_bytes, stream));
  if (plan.kernel == LSTMCORE_CUDA_KERNEL_MMA)
    launch_mma<S>(plan, spec.math, call, stream);
  else
    launch_persistent<S>(plan, call, stream);
}

}  // namespace cuda
}  // namespace lstmcore
