#include "stepwise_path.h"

#include <algorithm>
#include <array>

namespace lstmcore {
namespace cuda {
namespace {

constexpr std::int64_t kFewestGraphSteps = 4;  // below, a graph does not pay

StepOutputs outputs_of(const lstmcore_cuda_forward& args, std::int64_t first, const int* lengths) {
  return {first,
          args.lengths ? lengths : nullptr,
          args.y.data,
          args.y.step_stride,
          args.y.row_stride,
          args.c_seq.data,
          args.c_seq.step_stride,
          args.c_seq.row_stride};
}

// Device memory that a cell call reads or writes: rows of `width` bytes.
struct Rows {
  const void* data;
  std::int64_t count, stride, width;

  bool overlaps(const Rows& other) const {
    const auto from = [](const Rows& rows) { return static_cast<const char*>(rows.data); };
    const auto to = [&](const Rows& rows) {
      return from(rows) + (rows.count - 1) * rows.stride + rows.width;
    };
    return data && other.data && from(*this) < to(other) && from(other) < to(*this);
  }
};

}  // namespace

template <class S>
void StepwisePath<S>::run(const lstmcore_cuda_forward& args, const Scratch<S>& scratch, const Chunk& chunk,
                          const Context::Call& call) {
  if (!args.batch) return;
  const auto stream = static_cast<cudaStream_t>(args.stream);
  const bool reverse = args.reverse != 0;
  StepArgs<S> step = step_args(args.batch, scratch);
  step.outputs = outputs_of(args, chunk.first, scratch.lengths);
  const GraphKey key{chunk.steps, args.batch, chunk.step, chunk.row, call.generation(), reverse, scratch.c};
  const bool may_capture = chunk.steps >= kFewestGraphSteps && !call.captured();
  Graph* graph = may_capture ? graphs_.find(key) : nullptr;
  if (!graph) return run_steps(step, reverse, scratch, chunk, stream);
  if (!*graph) {
    step.outputs_in_memory = scratch.outputs;
    const cudaStream_t capturing = context_.capture_stream();
    *graph = Graph(capturing, [&] { run_steps(step, reverse, scratch, chunk, capturing); });
  }
  set_outputs(scratch.outputs, step.outputs, stream);
  graph->launch(stream);
}

template <class S>
StepArgs<S> StepwisePath<S>::step_args(std::int64_t N, const Scratch<S>& scratch) const {
  StepArgs<S> step{};
  step.N = N;
  step.H = spec_.num_units;
  step.P = spec_.num_proj ? spec_.num_proj : spec_.num_units;
  step.cell = weights_.cell(spec_);
  step.c_before = step.c = scratch.c;
  step.h_before = step.h = scratch.h;
  step.m = spec_.num_proj ? scratch.m : nullptr;
  step.projected = scratch.m_projected;
  step.clip = spec_.has_proj_clip;
  step.clip_limit = Accumulator<S>(spec_.proj_clip);
  return step;
}

// Everything here may be inside a graph: it reads nothing that GraphKey does not hold.
template <class S>
void StepwisePath<S>::run_steps(StepArgs<S> step, bool reverse, const Scratch<S>& scratch, const Chunk& chunk,
                                cudaStream_t on) {
  const std::int64_t width = 4 * step.H;
  const bool fused = step.N <= kFewRows;
  for (std::int64_t t = 0; t < chunk.steps; ++t) {
    step.position = reverse ? chunk.steps - 1 - t : t;
    auto* pre = scratch.projected + step.position * chunk.step;
    step.pre = pre;
    step.pre_row = chunk.row;
    if (fused) {
      // It reads all of h while it writes h: to the other of two places, in turns.
      if (!step.m) step.h = step.h_before == scratch.h ? scratch.h_next : scratch.h;
      step.overlaps = context_.overlaps() && t > 0;
      run_fused(step, {nullptr, weights_.R(), nullptr, 0, 0}, on);
      if (!step.m) step.h_before = step.h;
    } else {
      Gemm recurrent{step.N, width, step.P, scratch.h, step.P, weights_.R(), width, pre, chunk.row};
      recurrent.add = true;
      context_.products().multiply(recurrent, spec_, on);
      step.overlaps = context_.overlaps();
      run_gates(step, on);
    }
    if (step.m) project(step, scratch, on);
  }
  if (step.h != scratch.h)
    LSTMCORE_CUDA_CHECK(cudaMemcpyAsync(scratch.h, step.h, std::size_t(step.N * step.P) * sizeof(S),
                                        cudaMemcpyDeviceToDevice, on));
}

template <class S>
void StepwisePath<S>::project(StepArgs<S>& step, const Scratch<S>& scratch, cudaStream_t on) {
  const std::int64_t H = step.H, P = step.P;
  context_.products().multiply({step.N, P, H, scratch.m, H, weights_.projection(), P, scratch.m_projected, P},
                               spec_, on);
  step.overlaps = context_.overlaps();
  finish_projection(step, on);
}

template <class S>
void StepwisePath<S>::run_cell(const lstmcore_cuda_forward& args, const Scratch<S>& scratch) {
  using A = Accumulator<S>;
  const auto on = static_cast<cudaStream_t>(args.stream);
  StepArgs<S> step = step_args(args.batch, scratch);
  step.outputs = outputs_of(args, 0, scratch.lengths);
  step.c = args.c_n ? static_cast<A*>(args.c_n) : scratch.c;
  step.h = args.h_n ? static_cast<S*>(args.h_n) : scratch.h_next;

  const std::int64_t N = step.N, c_bytes = step.H * sizeof(A), h_bytes = step.P * sizeof(S);
  const std::array<Rows, 4> written{
      Rows{args.y.data, N, args.y.row_stride * std::int64_t(sizeof(S)), h_bytes},
      Rows{args.c_seq.data, N, args.c_seq.row_stride * std::int64_t(sizeof(A)), c_bytes},
      Rows{step.c, N, c_bytes, c_bytes}, Rows{step.h, N, h_bytes, h_bytes}};
  // An array that is also written to, where other threads have yet to read it, is read from a copy.
  const auto apart = [&](const Rows& rows, void* spare) {
    if (std::none_of(written.begin(), written.end(), [&](const Rows& to) { return rows.overlaps(to); }))
      return false;
    for (std::int64_t n = 0; n < N; ++n)
      LSTMCORE_CUDA_CHECK(cudaMemcpyAsync(static_cast<char*>(spare) + n * rows.width,
                                          static_cast<const char*>(rows.data) + n * rows.stride,
                                          std::size_t(rows.width), cudaMemcpyDeviceToDevice, on));
    return true;
  };
  const std::int64_t x_bytes = spec_.input_size * std::int64_t(sizeof(S));
  StepWeights<S> weights{weights_.W(), weights_.R(), static_cast<const S*>(args.x.data), spec_.input_size,
                         args.x.row_stride};
  if (apart({weights.x, N, weights.x_row * std::int64_t(sizeof(S)), x_bytes}, scratch.x)) {
    weights.x = scratch.x;
    weights.x_row = spec_.input_size;
  }
  step.c_before = static_cast<const A*>(args.c0);
  if (apart({args.c0, N, c_bytes, c_bytes}, scratch.c)) step.c_before = scratch.c;
  step.h_before = static_cast<const S*>(args.h0);
  if (apart({args.h0, N, h_bytes, h_bytes}, scratch.h)) step.h_before = scratch.h;
  run_fused(step, weights, on);
  if (step.m) project(step, scratch, on);
}

template class StepwisePath<float>;
template class StepwisePath<double>;
template class StepwisePath<float16>;
template class StepwisePath<bfloat16>;

}  // namespace cuda
}  // namespace lstmcore
