// Time of a step of the stepwise path's own kernels inside a CUDA graph, with and without leave to start before
// the kernel ahead has ended (programmatic dependent launch), and whether both give the same bits. Prints a line
// "name value unit" for each.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include "fused_step.cu"
#include "gemm.cu"
#include "graph_cache.h"
#include "stepwise.cu"

using namespace lstmcore;
using namespace lstmcore::cuda;

namespace {

constexpr int kSteps = 200;

template <class T>
DeviceMemory filled(std::int64_t count, float scale) {
  std::vector<T> values;
  std::uint32_t state = 12345;
  for (std::int64_t k = 0; k < count; ++k) {
    state = state * 1664525u + 1013904223u;
    values.push_back(store<T>(scale * (float(state >> 8) / float(1 << 23) - 1.0f)));
  }
  DeviceMemory memory(values.size() * sizeof(T));
  LSTMCORE_CUDA_CHECK(cudaMemcpy(memory.as<void>(), values.data(), memory.bytes(), cudaMemcpyHostToDevice));
  return memory;
}

// A time loop of N rows and H units: up to kFewRows rows the fused kernel, else a product and the gates.
template <class S>
struct Loop {
  std::int64_t N, H;
  DeviceMemory R = filled<S>(4 * H * H, 0.05f), x = filled<float>(N * 4 * H, 1.0f);
  DeviceMemory bias = filled<float>(4 * H, 0.5f), c = filled<float>(N * H, 0.0f);
  DeviceMemory pre = filled<float>(N * 4 * H, 1.0f);
  DeviceMemory h[2] = {filled<S>(N * H, 0.5f), filled<S>(N * H, 0.0f)};

  void start(cudaStream_t stream) const {
    LSTMCORE_CUDA_CHECK(cudaMemsetAsync(c.as<void>(), 0, c.bytes(), stream));
    for (const DeviceMemory& each : h)
      LSTMCORE_CUDA_CHECK(cudaMemsetAsync(each.as<void>(), 0, each.bytes(), stream));
  }

  void enqueue(bool overlaps, cudaStream_t stream) const {
    StepArgs<S> step{};
    step.N = N;
    step.H = step.P = H;
    step.cell.gate_slope = 1;
    step.cell.activation = Activation::tanh;
    step.cell.bias = bias.as<float>();
    step.c_before = step.c = c.as<float>();
    for (int t = 0; t < kSteps; ++t) {
      step.h_before = h[t % 2].as<S>();
      step.h = h[(t + 1) % 2].as<S>();
      step.pre_row = 4 * H;
      if (N <= kFewRows) {
        step.pre = x.as<float>();
        step.overlaps = overlaps && t > 0;
        run_fused(step, {nullptr, R.as<S>(), nullptr, 0, 0}, stream);
      } else {
        step.pre = pre.as<float>();
        step.overlaps = overlaps;
        plain_gemm<S>({N, 4 * H, H, step.h_before, H, R.as<S>(), 4 * H, pre.as<void>(), 4 * H}, stream);
        run_gates(step, stream);
      }
    }
  }
};

template <class S>
void measure(const char* name, std::int64_t N, std::int64_t H) {
  const Loop<S> loop{N, H};
  const Stream stream;
  std::vector<char> results[2];
  for (const bool overlaps : {false, true}) {
    loop.start(stream.get());
    loop.enqueue(overlaps, stream.get());  // loads the kernels
    const Graph graph(stream.get(), [&] { loop.enqueue(overlaps, stream.get()); });
    cudaEvent_t begin, end;
    LSTMCORE_CUDA_CHECK(cudaEventCreate(&begin));
    LSTMCORE_CUDA_CHECK(cudaEventCreate(&end));
    std::vector<float> times;
    for (int k = 0; k < 13; ++k) {
      loop.start(stream.get());
      LSTMCORE_CUDA_CHECK(cudaEventRecord(begin, stream.get()));
      graph.launch(stream.get());
      LSTMCORE_CUDA_CHECK(cudaEventRecord(end, stream.get()));
      LSTMCORE_CUDA_CHECK(cudaEventSynchronize(end));
      float time = 0;
      LSTMCORE_CUDA_CHECK(cudaEventElapsedTime(&time, begin, end));
      if (k >= 2) times.push_back(time);
    }
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
    std::printf("%s_%s %.4g us\n", name, overlaps ? "overlapping" : "serial",
                times[times.size() / 2] * 1e3 / kSteps);
    std::vector<char>& bits = results[overlaps];
    bits.resize(loop.c.bytes());
    LSTMCORE_CUDA_CHECK(cudaMemcpy(bits.data(), loop.c.template as<void>(), bits.size(), cudaMemcpyDefault));
  }
  std::printf("%s_same_bits %d bool\n", name, int(results[0] == results[1]));
  std::fflush(stdout);
}

template <class S>
void attempt(const char* name, std::int64_t N, std::int64_t H) {
  try {
    measure<S>(name, N, H);
  } catch (const std::exception& error) {
    std::printf("%s error %s\n", name, error.what());
  }
}

}  // namespace

int main() {
  try {
    std::printf("kernels_can_wait %d bool\n", int(kernels_can_wait()));
  } catch (const std::exception& error) {
    std::printf("overlap error %s\n", error.what());
    return 1;
  }
  attempt<float>("fused_float32_N1_H256", 1, 256);
  attempt<bfloat16>("fused_bfloat16_N1_H256", 1, 256);
  attempt<bfloat16>("fused_bfloat16_N1_H1024", 1, 1024);
  attempt<bfloat16>("fused_bfloat16_N4_H1024", 4, 1024);
  attempt<float>("gates_float32_N32_H64", 32, 64);
  return 0;
}
