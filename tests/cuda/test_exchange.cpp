// The persistent kernels with a thread of the system for each of theirs, under ThreadSanitizer: what the
// blocks of a group tell each other, and when, is ordered by the protocol and by nothing else. And a protocol
// that is broken ends as an error.
#include <cuda_runtime.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "emulated_primitives.h"
#include "lstmcore/activation.h"
#include "lstmcore/cuda_abi.h"

namespace {

const auto* const api = static_cast<const lstmcore_cuda_api_v1*>(lstmcore_cuda_api(LSTMCORE_CUDA_ABI));
char error[LSTMCORE_CUDA_ERROR_SIZE];
int failures = 0;

void expect(bool ok, const std::string& what) {
  if (ok) return;
  ++failures;
  std::printf("FAILED: %s (%s)\n", what.c_str(), error);
}

struct Case {
  const char* name;
  std::int64_t T, N, I, H;
  int dtype, path;
  bool reverse = false, lengths = false;
  int kernel = LSTMCORE_CUDA_KERNEL_FMA;
};

// Odd sizes: blocks with units that are not there, groups with rows that are not there.
const Case kCases[] = {
    {"one block", 8, 3, 4, 13, LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_BLOCK, false, true},
    {"one block, several row tiles", 5, 2, 3, 66, LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_BLOCK, true, true},
    {"one block, several row tiles, tensor cores", 5, 2, 3, 66, LSTMCORE_CUDA_FLOAT16, LSTMCORE_CUDA_BLOCK,
     false, true, LSTMCORE_CUDA_KERNEL_MMA},
    {"cluster, one row", 9, 1, 3, 13, LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_CLUSTER},
    {"cluster, groups", 8, 2, 3, 13, LSTMCORE_CUDA_BFLOAT16, LSTMCORE_CUDA_CLUSTER, true, true},
    {"grid, one row", 9, 1, 3, 13, LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_GRID, true},
    {"grid, one step: no block waits", 1, 2, 3, 13, LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_GRID},
    {"grid, groups", 8, 2, 3, 13, LSTMCORE_CUDA_FLOAT16, LSTMCORE_CUDA_GRID, false, true},
    {"cluster, tensor cores", 8, 2, 3, 13, LSTMCORE_CUDA_BFLOAT16, LSTMCORE_CUDA_CLUSTER, true, true,
     LSTMCORE_CUDA_KERNEL_MMA},
    {"grid, tensor cores", 8, 2, 3, 13, LSTMCORE_CUDA_FLOAT16, LSTMCORE_CUDA_GRID, false, true,
     LSTMCORE_CUDA_KERNEL_MMA},
};

std::vector<double> values(std::size_t count, unsigned seed, double scale) {
  std::vector<double> result;
  for (std::size_t k = 0; k < count; ++k) {
    seed = seed * 1664525u + 1013904223u;
    result.push_back(scale * (double(seed >> 8) / double(1 << 23) - 1));
  }
  return result;
}

std::size_t width(int dtype) { return dtype == LSTMCORE_CUDA_FLOAT32 ? 4 : 2; }

// Device memory is the host's in the emulator.
struct Memory {
  explicit Memory(std::size_t bytes) : bytes(bytes, 0) {}
  std::vector<char> bytes;
  void* get() { return bytes.data(); }
};

struct Layer {
  Layer(const Case& c, lstmcore_cuda_context* context) {
    const auto H = std::size_t(c.H), I = std::size_t(c.I);
    const auto W = values(I * 4 * H, 1, 0.5), R = values(H * 4 * H, 2, 0.7), b = values(4 * H, 3, 0.4);
    const auto peepholes = values(3 * H, 4, 0.5);
    lstmcore_cuda_spec spec{};
    spec.input_size = c.I;
    spec.num_units = c.H;
    spec.peepholes = 1;
    spec.forget_bias = 0.75;
    spec.dtype = c.dtype;
    spec.kernel = c.kernel;
    spec.activation = int(lstmcore::Activation::tanh);
    spec.recurrent_activation = int(lstmcore::Activation::sigmoid);
    const double* p = peepholes.data();
    const lstmcore_cuda_weights weights{W.data(), R.data(), b.data(), p, p + H, p + 2 * H, nullptr};
    expect(api->create_layer(context, &spec, &weights, &layer, error) == 0, "create");
  }
  ~Layer() { api->destroy_layer(layer); }
  lstmcore_cuda_layer* layer = nullptr;
};

// Statuses of forward and synchronize, and y.
struct Run {
  int forward = 0, synchronize = 0;
  std::vector<char> y;
};

Run run(const Case& c, const Layer& layer, lstmcore_cuda_context* context, int path) {
  const auto bytes = width(c.dtype);
  Memory x(std::size_t(c.T * c.N * c.I) * bytes), y(std::size_t(c.T * c.N * c.H) * bytes);
  Memory c_n(std::size_t(c.N * c.H) * 4), h_n(std::size_t(c.N * c.H) * bytes);
  const auto given = values(std::size_t(c.T * c.N * c.I), 5, 1);
  for (std::size_t k = 0; k < given.size(); ++k) {
    const float value = float(std::lround(given[k] * 64)) / 64;  // the same in every dtype
    std::uint32_t bits;
    std::memcpy(&bits, &value, 4);
    std::uint16_t half = std::uint16_t(bits >> 16);
    if (c.dtype == LSTMCORE_CUDA_FLOAT16 && value != 0)
      half = std::uint16_t((bits >> 16 & 0x8000) | (((bits & 0x7fffffff) - 0x38000000) >> 13));
    std::memcpy(x.bytes.data() + k * bytes, bytes == 4 ? static_cast<void*>(&bits) : &half, bytes);
  }
  std::vector<std::int64_t> lengths;
  for (std::int64_t n = 0; n < c.N; ++n) lengths.push_back((c.T * (n + 1) * 7 / 5) % (c.T + 1));
  lstmcore_cuda_forward args{};
  args.steps = c.T;
  args.batch = c.N;
  args.x = {x.get(), c.N * c.I, c.I};
  args.y = {y.get(), c.N * c.H, c.H};
  args.lengths = c.lengths ? lengths.data() : nullptr;
  args.c_n = c_n.get();
  args.h_n = h_n.get();
  args.reverse = c.reverse;
  args.path = path;
  Run result;
  result.forward = api->forward(layer.layer, &args, error);
  result.synchronize = api->synchronize(context, nullptr, error);
  result.y = y.bytes;
  return result;
}

float value_at(const std::vector<char>& bytes, int dtype, std::size_t k) {
  if (dtype == LSTMCORE_CUDA_FLOAT32) return reinterpret_cast<const float*>(bytes.data())[k];
  const std::uint32_t half = reinterpret_cast<const std::uint16_t*>(bytes.data())[k];
  std::uint32_t bits = half << 16;
  if (dtype == LSTMCORE_CUDA_FLOAT16)
    bits = (half & 0x7fff) < 0x400 ? 0 : ((half & 0x8000) << 16 | (((half & 0x7fff) << 13) + 0x38000000));
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

// Against the stepwise path, whose blocks tell each other nothing; two runs have the same bits.
void check_case(const Case& c, lstmcore_cuda_context* context) {
  const Layer layer(c, context);
  const Run stepwise = run(c, layer, context, LSTMCORE_CUDA_STEPWISE);
  std::vector<char> first;
  for (int call = 0; call < 2; ++call) {
    const Run got = run(c, layer, context, c.path);
    expect(got.forward == 0 && got.synchronize == 0, c.name);
    if (first.empty()) first = got.y;
    expect(got.y == first, std::string(c.name) + ": another call, other bits");
  }
  double difference = 0, size = 0;
  for (std::size_t k = 0; k < first.size() / width(c.dtype); ++k) {
    const double a = value_at(first, c.dtype, k), b = value_at(stepwise.y, c.dtype, k);
    difference += (a - b) * (a - b);
    size += b * b;
  }
  const double limit = c.dtype == LSTMCORE_CUDA_FLOAT32   ? 2e-6
                       : c.dtype == LSTMCORE_CUDA_FLOAT16 ? 3e-3
                                                          : 1.5e-2;
  expect(size > 0 && std::sqrt(difference / size) < limit, std::string(c.name) + ": not as stepwise");
  std::printf("%s: checked\n", c.name);
}

// One block's h never arrives: the call ends, says so, and the next one is right again.
void check_broken(const Case& c, lstmcore_cuda_context* context) {
  const Layer layer(c, context);
  const Run whole = run(c, layer, context, c.path);
  emulator::mute_block = 1;
  emulator::seconds_per_second = 1;
  const auto start = std::chrono::steady_clock::now();
  const Run broken = run(c, layer, context, c.path);
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - start;
  emulator::mute_block = -1;
  emulator::seconds_per_second = 60;
  expect(broken.forward == 0 && broken.synchronize == LSTMCORE_CUDA_FAILED,
         std::string(c.name) + ": a block that publishes nothing is noticed");
  expect(std::string(error).find("waited too long") != std::string::npos, "the reason");
  expect(waited.count() < 60, std::string(c.name) + ": it ends in time");
  expect(run(c, layer, context, c.path).y == whole.y, std::string(c.name) + ": the next call is right");
  std::printf("%s: broken, noticed after %.1f s\n", c.name, waited.count());
}

}  // namespace

int main() {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  lstmcore_cuda_context* context = nullptr;
  expect(api->create_context(0, std::getenv("LSTMCORE_CUBLAS"), &context, error) == 0, "context");
  if (!context) return 1;
  for (const Case& c : kCases) check_case(c, context);
  for (const Case& c : kCases)
    if (c.N == 1) check_broken(c, context);
  api->destroy_context(context);
  std::printf("%d cases, %d failures\n", int(sizeof kCases / sizeof kCases[0]), failures);
  return failures != 0;
}
