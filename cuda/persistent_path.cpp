#include "persistent_path.h"

#include <utility>

#include "initial_h.h"
#include "persistent.h"

namespace lstmcore {
namespace cuda {
namespace {

constexpr std::uint64_t kPatience = 2'000'000'000;  // nanoseconds a block waits for another

cudaStream_t stream_of(const lstmcore_cuda_forward& args) { return static_cast<cudaStream_t>(args.stream); }

// The part of the sequence from a step on.
lstmcore_cuda_sequence from_step(lstmcore_cuda_sequence sequence, std::int64_t first, std::size_t bytes) {
  if (sequence.data)
    sequence.data = static_cast<char*>(sequence.data) + first * sequence.step_stride * std::int64_t(bytes);
  return sequence;
}

}  // namespace

template <class S>
void PersistentPath<S>::start(const lstmcore_cuda_forward& args, const Scratch<S>& scratch) {
  if (!spec_.num_proj) return;
  const std::int64_t N = args.batch, H = spec_.num_units, P = spec_.num_proj, width = 4 * H;
  LSTMCORE_CUDA_CHECK(cudaMemsetAsync(scratch.m, 0, std::size_t(N * H) * sizeof(S), stream_of(args)));
  if (args.h0)
    context_.products().multiply({N, width, P, scratch.h, P, weights_.R(), width, scratch.initial, width},
                                 spec_, stream_of(args));
}

template <class S>
void PersistentPath<S>::run(const lstmcore_cuda_forward& args, const lstmcore_cuda_plan& plan,
                            Scratch<S>& scratch, const Chunk& chunk) {
  if (!spec_.num_proj) {
    launch(args, plan, scratch, chunk);
    return std::swap(scratch.h, scratch.h_next);
  }
  if (args.h0) add_initial(args, scratch, chunk);
  launch(args, plan, scratch, chunk);
  std::swap(scratch.m, scratch.m_next);
  if (!args.y.data) return;
  // x W of the chunk has been used: there is room for m P.
  StepArgs<S> outputs = project(args, scratch, scratch.m_steps, scratch.projected, chunk.steps);
  outputs.outputs.first = chunk.first;
  outputs.outputs.y = args.y.data;
  outputs.outputs.y_step = args.y.step_stride;
  outputs.outputs.y_row = args.y.row_stride;
  finish_projection(outputs, stream_of(args));
}

template <class S>
void PersistentPath<S>::finish(const lstmcore_cuda_forward& args, const Scratch<S>& scratch) {
  if (!spec_.num_proj || !args.h_n) return;
  // As one step at the beginning, which rows without any step do not take: they keep their h.
  StepArgs<S> last = project(args, scratch, scratch.m, scratch.m_projected, 1);
  last.h = scratch.h;
  last.h_before = scratch.h;
  finish_projection(last, stream_of(args));
}

// m P, and what finish_projection needs to know of it.
template <class S>
StepArgs<S> PersistentPath<S>::project(const lstmcore_cuda_forward& args, const Scratch<S>& scratch,
                                       const S* m, Accumulator<S>* projected, std::int64_t steps) {
  StepArgs<S> outputs{};
  outputs.N = args.batch;
  outputs.H = spec_.num_units;
  outputs.P = spec_.num_proj;
  outputs.steps = steps;
  outputs.projected = projected;
  outputs.outputs.lengths = args.lengths ? scratch.lengths : nullptr;
  context_.products().multiply({steps * outputs.N, outputs.P, outputs.H, m, outputs.H, weights_.projection(),
                                outputs.P, projected, outputs.P},
                               spec_, stream_of(args));
  return outputs;
}

template <class S>
void PersistentPath<S>::add_initial(const lstmcore_cuda_forward& args, const Scratch<S>& scratch,
                                    const Chunk& chunk) {
  InitialH initial{};
  initial.T = args.steps;
  initial.N = args.batch;
  initial.H = spec_.num_units;
  initial.reverse = args.reverse != 0;
  initial.lengths = args.lengths ? scratch.lengths : nullptr;
  initial.first = chunk.first;
  initial.steps = chunk.steps;
  initial.product = reinterpret_cast<const Pre<float>*>(scratch.initial);
  initial.projected = reinterpret_cast<Pre<float>*>(scratch.projected);
  initial.step = chunk.step / 4;
  initial.row = chunk.row / 4;
  add_initial_h(initial, stream_of(args));
}

// One kernel, from the state in the scratch memory to the next one. With a projection what it calls h is m.
template <class S>
void PersistentPath<S>::launch(const lstmcore_cuda_forward& args, const lstmcore_cuda_plan& plan,
                               const Scratch<S>& scratch, const Chunk& chunk) {
  const bool folded = folds(spec_, plan);
  const std::int64_t N = args.batch, H = spec_.num_units;
  PersistentArgs call{};
  call.T = chunk.steps;
  call.N = N;
  call.H = H;
  call.tiling = tiling_of(plan, spec_);
  call.rows = plan.rows_per_group;
  call.cell = weights_.cell(spec_);
  call.words = weights_.packed(call.tiling, spec_.math);
  call.projected = reinterpret_cast<const Pre<float>*>(scratch.projected);
  call.projected_step = chunk.step / 4;
  call.projected_row = chunk.row / 4;
  call.c0 = call.c_n = scratch.c;
  call.h0 = folded ? scratch.m : scratch.h;
  call.h_n = folded ? scratch.m_next : scratch.h_next;  // other blocks may still read h0
  call.first = chunk.first;
  call.lengths = args.lengths ? scratch.lengths : nullptr;
  call.reverse = args.reverse;
  const lstmcore_cuda_sequence y =
      folded ? lstmcore_cuda_sequence{scratch.m_steps, N * H, H} : from_step(args.y, chunk.first, sizeof(S));
  const lstmcore_cuda_sequence c_seq = from_step(args.c_seq, chunk.first, sizeof(float));
  call.y = args.y.data ? y.data : nullptr;
  call.y_step = y.step_stride;
  call.y_row = y.row_stride;
  call.c_seq = static_cast<float*>(c_seq.data);
  call.c_step = c_seq.step_stride;
  call.c_row = c_seq.row_stride;
  call.exchange = scratch.exchange;
  call.fault = context_.fault();
  call.patience = kPatience;
  if (plan.exchange_bytes)
    LSTMCORE_CUDA_CHECK(cudaMemsetAsync(scratch.exchange, 0xff,
                                        std::size_t(chunk.steps) * plan.exchange_bytes, stream_of(args)));
  if (plan.kernel == LSTMCORE_CUDA_KERNEL_MMA)
    launch_mma<S>(plan, spec_.math, call, stream_of(args));
  else
    launch_persistent<S>(plan, call, stream_of(args));
}

template class PersistentPath<float>;
template class PersistentPath<float16>;
template class PersistentPath<bfloat16>;

}  // namespace cuda
}  // namespace lstmcore
