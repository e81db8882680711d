#include "layer.h"

#include <algorithm>
#include <list>
#include <stdexcept>
#include <utility>

#include "persistent.h"
#include "stepwise.h"
#include "weights.h"

namespace lstmcore {
namespace cuda {
namespace {

constexpr std::size_t kProjectedLimit = std::size_t{256} << 20;  // bytes of x W at a time
constexpr std::int64_t kGraphSteps = 128;                        // at most, in one captured graph
constexpr std::int64_t kFewestGraphSteps = 4;                    // below, a graph does not pay
constexpr std::size_t kGraphs = 8;                               // kept per layer
constexpr std::uint64_t kPatience = 2'000'000'000;               // nanoseconds a block waits for another

// Hands out parts of one piece of memory; without memory it only counts.
class Carver {
 public:
  explicit Carver(char* memory = nullptr) : memory_(memory) {}
  template <class T>
  T* take(std::int64_t count) {
    char* at = memory_ ? memory_ + used_ : nullptr;
    used_ += (std::size_t(count) * sizeof(T) + 255) / 256 * 256;
    return reinterpret_cast<T*>(at);
  }
  std::size_t used() const { return used_; }

 private:
  char* memory_;
  std::size_t used_ = 0;
};

template <class S>
struct Scratch {
  using A = Accumulator<S>;
  StepOutputs* outputs;
  int* lengths;
  A *projected, *c, *m_projected;
  S *h, *h_next, *m;
  std::uint32_t* exchange;

  Scratch(Carver& carver, const lstmcore_cuda_spec& spec, const lstmcore_cuda_plan& plan, std::int64_t steps,
          std::int64_t N) {
    const std::int64_t H = spec.num_units, P = spec.num_proj ? spec.num_proj : H;
    outputs = carver.take<StepOutputs>(1);
    lengths = carver.take<int>(N);
    projected = carver.take<A>(steps * N * 4 * H);
    c = carver.take<A>(N * H);
    h = carver.take<S>(N * P);
    h_next = carver.take<S>(plan.path == LSTMCORE_CUDA_STEPWISE ? 0 : N * P);
    m = carver.take<S>(spec.num_proj ? N * H : 0);
    m_projected = carver.take<A>(spec.num_proj ? N * P : 0);
    exchange = carver.take<std::uint32_t>(steps * std::int64_t(plan.exchange_bytes / 4));
  }
};

// x W of a chunk of steps: [steps, N, 4H], or [N, steps, 4H] where x has its steps side by side.
struct Chunk {
  std::int64_t first, steps;
  std::int64_t step, row;  // strides of x W, in elements
};

class Graph {
 public:
  Graph() = default;
  explicit Graph(cudaGraph_t graph) {
    const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "cudaGraphInstantiate");
  }
  ~Graph() {
    if (executable_) cudaGraphExecDestroy(executable_);
  }
  Graph(Graph&& other) noexcept : executable_(std::exchange(other.executable_, nullptr)) {}
  Graph& operator=(Graph&& other) noexcept {
    std::swap(executable_, other.executable_);
    return *this;
  }
  explicit operator bool() const { return executable_; }
  void launch(cudaStream_t stream) const { LSTMCORE_CUDA_CHECK(cudaGraphLaunch(executable_, stream)); }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

// Everything that is inside a captured graph and does not change from call to call. Two calls that differ in
// nothing here can share one.
struct GraphKey {
  std::int64_t steps, N, step, row, generation;
  bool reverse;
  const void* memory;
  bool operator==(const GraphKey& o) const {
    return steps == o.steps && N == o.N && step == o.step && row == o.row && generation == o.generation &&
           reverse == o.reverse && memory == o.memory;
  }
};

template <class S>
class TypedLayer : public Layer {
  using A = Accumulator<S>;

 public:
  TypedLayer(Context& context, const lstmcore_cuda_spec& spec, const lstmcore_cuda_weights& weights)
      : context_(context), spec_(spec), weights_(spec, weights) {}
  ~TypedLayer() override {
    const DeviceGuard guard(context_.index(), std::nothrow);
    cudaDeviceSynchronize();  // what was enqueued reads the weights
  }

  Context& context() override { return context_; }

  void forward(const lstmcore_cuda_forward& args) override {
    const lstmcore_cuda_plan plan = make_plan(context_.device(), spec_, args.steps, args.batch, args.path);
    const bool persistent = plan.path != LSTMCORE_CUDA_STEPWISE;
    const std::int64_t N = args.batch, chunk = chunk_steps(args, plan);
    Context::Call call(context_, stream(args));
    if (call.captured() && args.lengths)
      throw Error(LSTMCORE_CUDA_INVALID,
                  "lengths: they are read from host memory, which a capture cannot do");
    Carver counting;
    Scratch<S>(counting, spec_, plan, chunk, N);
    Carver carver(call.scratch(counting.used()));
    Scratch<S> scratch(carver, spec_, plan, chunk, N);

    std::vector<int> lengths;  // copied before the call returns
    if (args.lengths) {
      lengths.assign(args.lengths, args.lengths + N);
      copy(scratch.lengths, lengths.data(), lengths.size() * sizeof(int), cudaMemcpyHostToDevice, args);
    }
    start_state(args, scratch);
    for (std::int64_t done = 0; done < args.steps; done += chunk) {
      const std::int64_t steps = std::min(chunk, args.steps - done);
      const std::int64_t first = args.reverse ? args.steps - done - steps : done;
      const Chunk part = multiply_inputs(args, scratch, first, steps);
      if (persistent) {
        run_persistent(args, plan, scratch, part);
        std::swap(scratch.h, scratch.h_next);
      } else {
        run_stepwise(args, scratch, part, call);
      }
    }
    copy(args.c_n, scratch.c, std::size_t(N * spec_.num_units) * sizeof(A), cudaMemcpyDeviceToDevice, args);
    copy(args.h_n, scratch.h, std::size_t(N * outputs()) * sizeof(S), cudaMemcpyDeviceToDevice, args);
  }

 private:
  static cudaStream_t stream(const lstmcore_cuda_forward& args) {
    return static_cast<cudaStream_t>(args.stream);
  }
  bool tf32() const { return spec_.math == LSTMCORE_CUDA_TF32; }
  std::int64_t outputs() const { return spec_.num_proj ? spec_.num_proj : spec_.num_units; }

  static void copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                   const lstmcore_cuda_forward& args) {
    if (bytes) LSTMCORE_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, kind, stream(args)));
  }

  std::int64_t chunk_steps(const lstmcore_cuda_forward& args, const lstmcore_cuda_plan& plan) const {
    const auto projected =
        std::size_t(std::max<std::int64_t>(args.batch, 1) * 4 * spec_.num_units) * sizeof(A);
    std::int64_t steps = std::max<std::int64_t>(std::int64_t(kProjectedLimit / projected), 1);
    if (plan.exchange_bytes)
      steps = std::min(steps, std::max<std::int64_t>(std::int64_t(kExchangeLimit / plan.exchange_bytes), 1));
    if (plan.path == LSTMCORE_CUDA_STEPWISE) steps = std::min(steps, kGraphSteps);
    return std::min(steps, std::max<std::int64_t>(args.steps, 1));
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
    if (x.row_stride == steps * x.step_stride) {  // all steps of a row, then the next row
      gemm.lda = x.step_stride;
      chunk.step = width;
      chunk.row = steps * width;
    } else if (x.step_stride != N * x.row_stride) {
      gemm.M = N;
      gemm.count = steps;
      gemm.stride_a = x.step_stride;
      gemm.stride_c = N * width;
    }
    context_.use(stream(args));
    if (N) context_.cublas().multiply(gemm, spec_.dtype, tf32());
    return chunk;
  }

  static lstmcore_cuda_sequence from_step(lstmcore_cuda_sequence sequence, std::int64_t first,
                                          std::size_t bytes) {
    if (sequence.data)
      sequence.data = static_cast<char*>(sequence.data) + first * sequence.step_stride * bytes;
    return sequence;
  }

  void run_persistent(const lstmcore_cuda_forward& args, const lstmcore_cuda_plan& plan,
                      const Scratch<S>& scratch, const Chunk& chunk) {
    if constexpr (sizeof(S) <= 4) {
      PersistentArgs call{};
      call.T = chunk.steps;
      call.N = args.batch;
      call.H = spec_.num_units;
      call.tiling = tiling_of(plan, spec_);
      call.rows = plan.rows_per_group;
      call.cell = weights_.cell(spec_);
      call.words = weights_.packed(call.tiling, spec_.math);
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
      call.fault = context_.fault();
      call.patience = kPatience;
      if (plan.exchange_bytes)
        LSTMCORE_CUDA_CHECK(cudaMemsetAsync(scratch.exchange, 0xff,
                                            std::size_t(chunk.steps) * plan.exchange_bytes, stream(args)));
      if (plan.kernel == LSTMCORE_CUDA_KERNEL_MMA)
        launch_mma<S>(plan, spec_.math, call, stream(args));
      else
        launch_persistent<S>(plan, call, stream(args));
    }
  }

  void run_stepwise(const lstmcore_cuda_forward& args, const Scratch<S>& scratch, const Chunk& chunk,
                    const Context::Call& call) {
    const StepOutputs outputs{chunk.first,
                              args.lengths ? scratch.lengths : nullptr,
                              args.y.data,
                              args.y.step_stride,
                              args.y.row_stride,
                              args.c_seq.data,
                              args.c_seq.step_stride,
                              args.c_seq.row_stride};
    if (!args.batch) return;
    set_outputs(scratch.outputs, outputs, stream(args));
    const GraphKey key{chunk.steps,       args.batch,        chunk.step, chunk.row,
                       call.generation(), args.reverse != 0, scratch.c};
    const bool may_capture = chunk.steps >= kFewestGraphSteps && !call.captured();
    Graph* graph = may_capture ? find_graph(key) : nullptr;
    if (!graph) return run_steps(args, scratch, chunk, stream(args));
    if (!*graph) *graph = capture(args, scratch, chunk);
    graph->launch(stream(args));
  }

  // Null the first time that a key is asked for: a graph pays from the second call on.
  Graph* find_graph(const GraphKey& key) {
    for (auto entry = graphs_.begin(); entry != graphs_.end(); ++entry)
      if (entry->first == key) {
        graphs_.splice(graphs_.begin(), graphs_, entry);
        return &entry->second;
      }
    graphs_.emplace_front(key, Graph());
    if (graphs_.size() > kGraphs) graphs_.pop_back();
    return nullptr;
  }

  Graph capture(const lstmcore_cuda_forward& args, const Scratch<S>& scratch, const Chunk& chunk) {
    const cudaStream_t capturing = context_.capture_stream();
    context_.use(capturing);
    LSTMCORE_CUDA_CHECK(cudaStreamBeginCapture(capturing, cudaStreamCaptureModeThreadLocal));
    cudaGraph_t graph = nullptr;
    try {
      run_steps(args, scratch, chunk, capturing);
    } catch (...) {
      if (cudaStreamEndCapture(capturing, &graph) == cudaSuccess && graph) cudaGraphDestroy(graph);
      throw;
    }
    LSTMCORE_CUDA_CHECK(cudaStreamEndCapture(capturing, &graph));
    return Graph(graph);
  }

  // Everything here may be inside a graph: it reads nothing of `args` that GraphKey does not hold.
  void run_steps(const lstmcore_cuda_forward& args, const Scratch<S>& scratch, const Chunk& chunk,
                 cudaStream_t on) {
    const std::int64_t N = args.batch, H = spec_.num_units, P = outputs();
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
    step.clip_limit = A(spec_.proj_clip);
    step.outputs = scratch.outputs;
    for (std::int64_t t = 0; t < chunk.steps; ++t) {
      step.position = args.reverse ? chunk.steps - 1 - t : t;
      A* pre = scratch.projected + step.position * chunk.step;
      step.pre = pre;
      Gemm recurrent{N, 4 * H, P, scratch.h, P, weights_.R(), 4 * H, pre, chunk.row};
      recurrent.add = true;
      context_.cublas().multiply(recurrent, spec_.dtype, tf32());
      run_gates(step, on);
      if (!step.m) continue;
      context_.cublas().multiply({N, P, H, scratch.m, H, weights_.projection(), P, scratch.m_projected, P},
                                 spec_.dtype, tf32());
      finish_projection(step, on);
    }
  }

  Context& context_;
  lstmcore_cuda_spec spec_;
  LayerWeights<S> weights_;
  std::list<std::pair<GraphKey, Graph>> graphs_;  // the latest first
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
