// Statuses of CUDA and cuBLAS that the emulator is told to give: what the library reports, and that it works
// again afterwards.
#include <cuda_runtime.h>

#include <cstdlib>
#include <memory>

#include "cublas_functions.h"
#include "emulator/faults.h"
#include "harness.h"

using namespace lstmcore;
using namespace lstmcore::cuda;

namespace {

const char* const cublas = std::getenv("LSTMCORE_CUBLAS");

bool says(const char* text) { return std::string(error).find(text) != std::string::npos; }

// A layer, and calls of it on zeros.
struct Setup {
  std::int64_t T, N, I = 3, H = 10, width;  // of h
  lstmcore_cuda_layer* layer = nullptr;
  void *x = nullptr, *y = nullptr, *state = nullptr;

  Setup(lstmcore_cuda_context* context, std::int64_t T, std::int64_t N, std::int64_t P = 0)
      : T(T), N(N), width(P ? P : H) {
    Case c{T, N, I, H, P};
    Random random;
    const Model model = make_model(c, random);
    const lstmcore_cuda_spec spec = device_spec(c);
    const lstmcore_cuda_weights weights = host_weights(model);
    expect(api->create_layer(context, &spec, &weights, &layer, error) == 0, "create_layer");
    allocate(&x, std::vector<float>(std::size_t(T * N * I), 0.25f));
    allocate(&y, std::vector<float>(std::size_t(T * N * width), 7.0f));
    allocate(&state, std::vector<float>(std::size_t(2 * N * H), 7.0f));
  }
  ~Setup() {
    api->destroy_layer(layer);
    for (void* memory : {x, y, state}) api->release(0, memory, nullptr, error);
  }
  Setup(const Setup&) = delete;

  static void allocate(void** memory, const std::vector<float>& values) {
    expect(api->allocate(0, values.size() * 4, nullptr, memory, error) == 0, "allocate");
    api->copy(0, *memory, values.data(), values.size() * 4, nullptr, error);
  }
  int forward(int path = LSTMCORE_CUDA_STEPWISE) const { return forward(path, T); }
  int forward(int path, std::int64_t steps) const {
    lstmcore_cuda_forward args{};
    args.steps = steps;
    args.batch = N;
    args.x = {x, N * I, I};
    args.y = {y, N * width, width};
    args.c_n = state;
    args.h_n = static_cast<float*>(state) + N * H;
    args.path = path;
    return api->forward(layer, &args, error);
  }
  std::vector<float> outputs() const {
    std::vector<float> values(std::size_t(T * N * width));
    api->copy(0, values.data(), y, values.size() * 4, nullptr, error);
    return values;
  }
};

// Every call of `function` that a forward makes, one after the other, fails with `status`.
void check_each(lstmcore_cuda_context* context, const char* function, int status, int expected,
                const char* text) {
  const std::string name = std::string(function) + " " + std::to_string(status);
  const Setup fresh(context, 6, 5);
  expect(fresh.forward() == 0, name + ": before");
  const std::vector<float> want = fresh.outputs();
  int failed = 0;
  for (int nth = 0;; ++nth) {
    const Setup setup(context, 6, 5);
    emulator_fail(function, nth, 1, status);
    // The first call as it is, the second captured in a graph, the third from that.
    int result = 0;
    for (int call = 0; call < 3 && result == 0; ++call) result = setup.forward();
    if (result == 0) break;
    ++failed;
    expect(result == expected && says(text) && says(function), name + ": report");
    for (int call = 0; call < 3; ++call)
      expect(setup.forward() == 0 && setup.outputs() == want, name + ": afterwards");
  }
  emulator_fail("", 0, 0, 0);
  expect(failed > 0, name + ": is called");
}

void check_calls(lstmcore_cuda_context* context) {
  check_each(context, "cublasLtMatmul", kCublasExecutionFailed, LSTMCORE_CUDA_FAILED, "execution failed");
  check_each(context, "cublasLtMatmul", kCublasAllocFailed, LSTMCORE_CUDA_OUT_OF_MEMORY, "out of memory");
  check_each(context, "cublasLtMatmul", kCublasInternalError, LSTMCORE_CUDA_FAILED, "cuBLAS status 14");
  check_each(context, "cudaLaunchKernelEx", cudaErrorIllegalAddress, LSTMCORE_CUDA_FAILED,
             "cudaErrorIllegalAddress");
  check_each(context, "cudaMemcpyAsync", cudaErrorInvalidValue, LSTMCORE_CUDA_FAILED, "cudaError");
  check_each(context, "cudaLaunchKernelEx", cudaErrorInitializationError, LSTMCORE_CUDA_FAILED,
             "spawn or forkserver");
  check_each(context, "cudaGraphInstantiate", cudaErrorMemoryAllocation, LSTMCORE_CUDA_OUT_OF_MEMORY,
             "out of memory");
  check_each(context, "cudaGraphLaunch", cudaErrorLaunchFailure, LSTMCORE_CUDA_FAILED,
             "process is restarted");
}

// Lookups are made once for a product, so each time in a context of its own.
void check_lookup() {
  const auto run = [](const char* function, int status, std::vector<float>* outputs) {
    lstmcore_cuda_context* context = nullptr;
    expect(api->create_context(0, cublas, &context, error) == 0, "context");
    int result = 0;
    {
      const Setup setup(context, 6, 5);
      emulator_fail(function, 0, 1000, status);
      result = setup.forward();
      emulator_fail("", 0, 0, 0);
      *outputs = setup.outputs();
    }
    api->destroy_context(context);
    return result;
  };
  const char* const find = "cublasLtMatmulAlgoGetHeuristic";
  std::vector<float> want, got;
  expect(run("", 0, &want) == 0, "lookup");
  expect(run(find, kCublasNotSupported, &got) == 0, "no algorithm: the library's own product");
  double difference = 0;
  for (std::size_t k = 0; k < want.size(); ++k) difference += std::abs(double(want[k]) - double(got[k]));
  expect(difference < 1e-4, "no algorithm: the same outputs");
  expect(run(find, kCublasInternalError, &got) == LSTMCORE_CUDA_FAILED && says(find), "lookup fails");
  expect(run("cublasLtMatrixLayoutCreate", kCublasAllocFailed, &got) == LSTMCORE_CUDA_OUT_OF_MEMORY,
         "no memory for a layout");
}

void check_context() {
  const auto create = [](const char* function, int skip, int status) {
    lstmcore_cuda_context* context = nullptr;
    emulator_fail(function, skip, 1, status);
    const int result = api->create_context(0, cublas, &context, error);
    emulator_fail("", 0, 0, 0);
    if (result == 0) api->destroy_context(context);
    return result;
  };
  expect(create("cublasLtCreate", 0, kCublasNotInitialized) == LSTMCORE_CUDA_FAILED && says("working GPU"),
         "cublasLtCreate");
  // The status is the version.
  expect(create("cublasLtGetVersion", 0, 110300) == LSTMCORE_CUDA_UNAVAILABLE &&
             says("cuBLAS is too old: 12.0 or newer is needed, found 11.3"),
         "an old cuBLAS");
  expect(create("cudaMalloc", 0, cudaErrorMemoryAllocation) == LSTMCORE_CUDA_OUT_OF_MEMORY, "workspace");
  expect(create("", 0, 0) == 0, "context afterwards");
  // A library, but not cuBLAS.
  lstmcore_cuda_context* context = nullptr;
  expect(api->create_context(0, "libm.so.6", &context, error) == LSTMCORE_CUDA_UNAVAILABLE &&
             says("it has no cublasLtGetVersion"),
         "not cuBLAS");
}

// A driver that knows no overlapping kernels in graphs.
void check_old_driver() {
  const auto overlaps = [](int driver, std::int64_t N, std::vector<float>* outputs) {
    emulator_driver(driver);
    lstmcore_cuda_context* context = nullptr;
    expect(api->create_context(0, cublas, &context, error) == 0, "driver");
    const int before = emulator_overlaps();
    {
      const Setup setup(context, 6, N);
      for (int call = 0; call < 3; ++call) expect(setup.forward() == 0, "driver: forward");
      *outputs = setup.outputs();
    }
    api->destroy_context(context);
    return emulator_overlaps() - before;
  };
  for (const std::int64_t N : {2, 5}) {
    std::vector<float> with, without;
    expect(overlaps(12020, N, &without) == 0, "CUDA 12.2: nothing overlaps");
    expect(overlaps(12030, N, &with) > 0, "CUDA 12.3: kernels overlap");
    expect(with == without, "the same either way");
  }
}

// A part of a GPU, whose clusters are smaller than the whole one's.
void check_small_clusters() {
  for (const int refused : {0, 8, 15}) {
    emulator_fail("cudaOccupancyMaxActiveClusters", 0, refused, cudaErrorInvalidClusterSize);
    lstmcore_cuda_context* context = nullptr;
    expect(api->create_context(0, cublas, &context, error) == 0, "clusters");
    lstmcore_cuda_device device{}, whole{};
    expect(api->context_device(context, &device, error) == 0 && api->device(0, &whole, error) == 0,
           "clusters: device");
    expect(whole.max_cluster == 16 && device.max_cluster == 16 - refused, "clusters: the largest");
    api->destroy_context(context);
  }
}

void check_weights(lstmcore_cuda_context* context) {
  Case c{1, 1, 3, 10, 4};
  c.peepholes = true;
  Random random;
  const Model model = make_model(c, random);
  const lstmcore_cuda_spec spec = device_spec(c);
  const lstmcore_cuda_weights weights = host_weights(model);
  int failed = 0;
  for (int nth = 0;; ++nth) {
    lstmcore_cuda_layer* layer = nullptr;
    emulator_fail("cudaMalloc", nth, 1, cudaErrorMemoryAllocation);
    const int result = api->create_layer(context, &spec, &weights, &layer, error);
    emulator_fail("", 0, 0, 0);
    if (result == 0) {
      api->destroy_layer(layer);
      break;
    }
    ++failed;
    expect(result == LSTMCORE_CUDA_OUT_OF_MEMORY && says("cudaMalloc"), "weights: out of memory");
  }
  expect(failed == 7, "weights: one allocation each");
}

// What the first call with a projection makes of the weights: the call fails as a whole, the next one tries
// again.
void check_fold(lstmcore_cuda_context* context, const char* function, int status, int expected, int calls) {
  const std::string name = std::string("fold, ") + function;
  const Setup whole(context, 6, 5, 4);
  expect(whole.forward(LSTMCORE_CUDA_BLOCK) == 0, name + ": before");
  int failed = 0;
  for (int nth = 0;; ++nth) {
    const Setup setup(context, 6, 5, 4);
    emulator_fail(function, nth, 1, status);
    const int result = setup.forward(LSTMCORE_CUDA_BLOCK);
    emulator_fail("", 0, 0, 0);
    if (result == 0) break;
    ++failed;
    expect(result == expected && says(function), name + ": report");
    expect(setup.forward(LSTMCORE_CUDA_BLOCK) == 0 && setup.outputs() == whole.outputs(),
           name + ": afterwards");
  }
  expect(failed == calls, name + ": is called " + std::to_string(failed) + " times");
}

// Where there is no memory for x W of all steps, fewer are taken at a time.
void check_chunks(int path, std::int64_t P) {
  const std::string name = "chunks of path " + std::to_string(path) + " P" + std::to_string(P);
  lstmcore_cuda_context *large = nullptr, *small = nullptr;
  expect(api->create_context(0, cublas, &large, error) == 0, name);
  expect(api->create_context(0, cublas, &small, error) == 0, name);
  {
    const Setup roomy(large, 60, 6, P), tight(small, 60, 6, P), wide(small, 2, 500, P);
    expect(roomy.forward(path) == 0 && tight.forward(path, 1) == 0, name);  // weights are packed at the first
    const std::vector<float> want = roomy.outputs();
    emulator_limit_memory(emulator_allocated() +
                          20 * (6 * 4 * 10 * 4));  // x W of 20 steps: 60 and 30 do not fit
    for (int call = 0; call < 4; ++call)
      expect(tight.forward(path) == 0 && tight.outputs() == want, name + ": fewer steps at a time");
    emulator_limit_memory(emulator_allocated() + 1000);
    expect(wide.forward(path) == LSTMCORE_CUDA_OUT_OF_MEMORY && says("cudaMalloc"), name + ": not one step");
    emulator_limit_memory(0);
    expect(wide.forward(path) == 0, name + ": one step at a time afterwards");
    expect(tight.forward(path) == 0 && tight.outputs() == want, name + ": afterwards");
  }
  api->destroy_context(small);
  api->destroy_context(large);
}

void tests(lstmcore_cuda_context* context) {
  check_calls(context);
  check_lookup();
  check_context();
  check_old_driver();
  check_small_clusters();
  check_weights(context);
  check_fold(context, "cudaMalloc", cudaErrorMemoryAllocation, LSTMCORE_CUDA_OUT_OF_MEMORY, 4);
  check_fold(context, "cublasLtMatmul", kCublasExecutionFailed, LSTMCORE_CUDA_FAILED, 3);
  for (const std::int64_t P : {0, 4}) {
    check_chunks(LSTMCORE_CUDA_STEPWISE, P);
    check_chunks(LSTMCORE_CUDA_BLOCK, P);
  }
}

}  // namespace

int main() { return run_tests(tests); }
