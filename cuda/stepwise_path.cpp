#include "stepwise_path.h"

namespace lstmcore {
namespace cuda {
namespace {

constexpr std::int64_t kFewestGraphSteps = 4;  // below, a graph does not pay

}  // namespace

template <class S>
void StepwisePath<S>::run(const lstmcore_cuda_forward& args, const Scratch<S>& scratch, const Chunk& chunk,
                          const Context::Call& call) {
  if (!args.batch) return;
  const auto stream = static_cast<cudaStream_t>(args.stream);
  const StepOutputs outputs{chunk.first,
                            args.lengths ? scratch.lengths : nullptr,
                            args.y.data,
                            args.y.step_stride,
                            args.y.row_stride,
                            args.c_seq.data,
                            args.c_seq.step_stride,
                            args.c_seq.row_stride};
  set_outputs(scratch.outputs, outputs, stream);
  const bool reverse = args.reverse != 0;
  const GraphKey key{chunk.steps, args.batch, chunk.step, chunk.row, call.generation(), reverse, scratch.c};
  const bool may_capture = chunk.steps >= kFewestGraphSteps && !call.captured();
  Graph* graph = may_capture ? graphs_.find(key) : nullptr;
  if (!graph) return run_steps(reverse, args.batch, scratch, chunk, stream);
  if (!*graph) {
    const cudaStream_t capturing = context_.capture_stream();
    context_.use(capturing);
    *graph = Graph(capturing, [&] { run_steps(reverse, args.batch, scratch, chunk, capturing); });
  }
  graph->launch(stream);
}

// Everything here may be inside a graph: it reads nothing that GraphKey does not hold.
template <class S>
void StepwisePath<S>::run_steps(bool reverse, std::int64_t N, const Scratch<S>& scratch, const Chunk& chunk,
                                cudaStream_t on) {
  const std::int64_t H = spec_.num_units, P = spec_.num_proj ? spec_.num_proj : H;
  StepArgs<S> step{};
  step.N = N;
  step.H = H;
  step.P = P;
  step.cell = weights_.cell(spec_);
  step.pre_row = chunk.row;
  step.c = scratch.c;
  step.h = scratch.h;
  step.m = spec_.num_proj ? scratch.m : nullptr;
  step.projected = scratch.m_projected;
  step.clip = spec_.has_proj_clip;
  step.clip_limit = Accumulator<S>(spec_.proj_clip);
  step.outputs = scratch.outputs;
  for (std::int64_t t = 0; t < chunk.steps; ++t) {
    step.position = reverse ? chunk.steps - 1 - t : t;
    auto* pre = scratch.projected + step.position * chunk.step;
    step.pre = pre;
    Gemm recurrent{N, 4 * H, P, scratch.h, P, weights_.R(), 4 * H, pre, chunk.row};
    recurrent.add = true;
    context_.cublas().multiply(recurrent, spec_.dtype, spec_.tf32);
    run_gates(step, on);
    if (!step.m) continue;
    context_.cublas().multiply({N, P, H, scratch.m, H, weights_.projection(), P, scratch.m_projected, P},
                               spec_.dtype, spec_.tf32);
    finish_projection(step, on);
  }
}

template class StepwisePath<float>;
template class StepwisePath<double>;
template class StepwisePath<float16>;
template class StepwisePath<bfloat16>;

}  // namespace cuda
}  // namespace lstmcore
