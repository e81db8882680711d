#include "layer.h"

#include <algorithm>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "host_data.h"
#include "persistent_path.h"
#include "stepwise_path.h"

namespace lstmcore {
namespace cuda {
namespace {

template <class S>
class TypedLayer : public Layer {
  using A = Accumulator<S>;
  static constexpr bool kMayPersist = !std::is_same<S, double>::value;

 public:
  TypedLayer(Context& context, const lstmcore_cuda_spec& spec, const lstmcore_cuda_weights& weights)
      : context_(context),
        spec_(spec),
        weights_(spec, weights),
        stepwise_(context, spec_, weights_),
        persistent_(context, spec_, weights_) {}
  ~TypedLayer() override {
    const DeviceGuard guard(context_.index(), std::nothrow);
    context_.wait();  // what was enqueued reads the weights
  }

  Context& context() override { return context_; }

  void forward(const lstmcore_cuda_forward& args) override {
    const lstmcore_cuda_plan plan = make_plan(context_.device(), spec_, args.steps, args.batch, args.path);
    const std::int64_t N = args.batch;
    if (N > 1 && args.steps > 0 && args.x.row_stride < spec_.input_size)
      throw std::invalid_argument("x: expected rows that do not overlap, got a stride of " +
                                  std::to_string(args.x.row_stride) + " between rows of " +
                                  std::to_string(spec_.input_size));
    Context::Call call(context_, stream(args));
    std::int64_t chunk = chunk_steps<S>(spec_, plan, args.steps, N);
    Scratch<S> scratch = take_scratch(call, plan, args, chunk);

    if (args.lengths) {
      const std::vector<int> lengths(args.lengths, args.lengths + N);
      write_from_host(scratch.lengths, lengths.data(), lengths.size() * sizeof(int), stream(args));
    }
    const bool stepwise = plan.path == LSTMCORE_CUDA_STEPWISE;
    if (stepwise && args.steps == 1 && N > 0 && N <= kFewRows) return stepwise_.run_cell(args, scratch);
    start_state(args, scratch);
    if constexpr (kMayPersist)
      if (!stepwise) persistent_.start(args, scratch);
    for (std::int64_t done = 0; done < args.steps; done += chunk) {
      const std::int64_t steps = std::min(chunk, args.steps - done);
      const std::int64_t first = args.reverse ? args.steps - done - steps : done;
      const Chunk part = multiply_inputs(args, scratch, first, steps);
      if (stepwise) {
        stepwise_.run(args, scratch, part, call);
      } else if constexpr (kMayPersist) {
        persistent_.run(args, plan, scratch, part);
      }
    }
    if constexpr (kMayPersist)
      if (!stepwise) persistent_.finish(args, scratch);
    if (args.c_n)
      copy(args.c_n, scratch.c, std::size_t(N * spec_.num_units) * sizeof(A), cudaMemcpyDeviceToDevice, args);
    if (args.h_n)
      copy(args.h_n, scratch.h, std::size_t(N * outputs()) * sizeof(S), cudaMemcpyDeviceToDevice, args);
  }

 private:
  static cudaStream_t stream(const lstmcore_cuda_forward& args) {
    return static_cast<cudaStream_t>(args.stream);
  }
  std::int64_t outputs() const { return spec_.num_proj ? spec_.num_proj : spec_.num_units; }

  static void copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                   const lstmcore_cuda_forward& args) {
    if (bytes) LSTMCORE_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, kind, stream(args)));
  }

  // For `chunk` steps, or for as many as the device has memory for: then `chunk` is those.
  Scratch<S> take_scratch(Context::Call& call, const lstmcore_cuda_plan& plan,
                          const lstmcore_cuda_forward& args, std::int64_t& chunk) const {
    const bool y = args.y.data != nullptr;
    for (;; chunk = (chunk + 1) / 2) {
      Carver counting;
      Scratch<S>(counting, spec_, plan, chunk, args.batch, y);
      if (char* memory = call.scratch(counting.used(), chunk == 1)) {
        Carver carver(memory);
        return Scratch<S>(carver, spec_, plan, chunk, args.batch, y);
      }
    }
  }

  void start_state(const lstmcore_cuda_forward& args, const Scratch<S>& scratch) const {
    const auto start = [&](void* to, const void* from, std::size_t bytes) {
      if (from)
        copy(to, from, bytes, cudaMemcpyDeviceToDevice, args);
      else if (bytes)
        LSTMCORE_CUDA_CHECK(cudaMemsetAsync(to, 0, bytes, stream(args)));
    };
    start(scratch.c, args.c0, std::size_t(args.batch * spec_.num_units) * sizeof(A));
    start(scratch.h, args.h0, std::size_t(args.batch * outputs()) * sizeof(S));
  }

  Chunk multiply_inputs(const lstmcore_cuda_forward& args, const Scratch<S>& scratch, std::int64_t first,
                        std::int64_t steps) {
    const std::int64_t N = args.batch, I = spec_.input_size, width = 4 * spec_.num_units;
    const lstmcore_cuda_sequence& x = args.x;
    const auto* from = static_cast<const S*>(x.data) + first * x.step_stride;
    Gemm gemm{N * steps, width, I, from, x.row_stride, weights_.W(), width, scratch.projected, width};
    Chunk chunk{first, steps, N * width, width};
    if (x.step_stride >= I &&
        (N == 1 || x.row_stride == steps * x.step_stride)) {  // a row's steps, the next row
      gemm.lda = x.step_stride;
      chunk.step = width;
      chunk.row = steps * width;
    } else if (x.step_stride != N * x.row_stride) {
      gemm.M = N;
      gemm.count = steps;
      gemm.stride_a = x.step_stride;
      gemm.stride_c = N * width;
    }
    if (gemm.M == 1) gemm.lda = I;
    context_.products().multiply(gemm, spec_, stream(args));
    return chunk;
  }

  Context& context_;
  lstmcore_cuda_spec spec_;
  LayerWeights<S> weights_;
  StepwisePath<S> stepwise_;
  PersistentPath<S> persistent_;
};

}  // namespace

Layer* make_layer(Context& context, const lstmcore_cuda_spec& spec, const lstmcore_cuda_weights& weights) {
  const DeviceGuard guard(context.index());
  switch (spec.dtype) {
    case LSTMCORE_CUDA_FLOAT32:
      return new TypedLayer<float>(context, spec, weights);
    case LSTMCORE_CUDA_FLOAT64:
      return new TypedLayer<double>(context, spec, weights);
    case LSTMCORE_CUDA_FLOAT16:
      return new TypedLayer<float16>(context, spec, weights);
    case LSTMCORE_CUDA_BFLOAT16:
      return new TypedLayer<bfloat16>(context, spec, weights);
  }
  throw std::invalid_argument("dtype: not one of lstmcore_cuda_dtype");
}

}  // namespace cuda
}  // namespace lstmcore
