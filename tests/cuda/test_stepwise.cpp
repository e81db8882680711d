// The stepwise path, on the emulator or a GPU: batches on both sides of the kernel for few rows, cell calls,
// chunks, graphs, captures, strides, arrays that are read and written in one call, both kinds of products.
#include <cuda_runtime.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "harness.h"
#include "status.h"

using namespace lstmcore;
using namespace lstmcore::cuda;

namespace {

// float32 values on the device.
class Array {
 public:
  explicit Array(const std::vector<float>& values) : size_(values.size()) {
    expect(api->allocate(0, size_ * 4, nullptr, &memory_, error) == 0, "allocate");
    set(values);
  }
  explicit Array(std::size_t size) : Array(std::vector<float>(size, 7.0f)) {}
  ~Array() { api->release(0, memory_, nullptr, error); }
  Array(const Array&) = delete;
  float* data() const { return static_cast<float*>(memory_); }
  void set(const std::vector<float>& values) {
    expect(api->copy(0, memory_, values.data(), size_ * 4, nullptr, error) == 0, "copy");
    api->synchronize(context, nullptr, error);
  }
  std::vector<float> get() const {
    std::vector<float> values(size_);
    api->copy(0, values.data(), memory_, size_ * 4, nullptr, error);
    api->synchronize(context, nullptr, error);
    return values;
  }
  static lstmcore_cuda_context* context;

 private:
  void* memory_ = nullptr;
  std::size_t size_;
};
lstmcore_cuda_context* Array::context = nullptr;

std::vector<float> floats(std::int64_t count, std::uint64_t seed) {
  Random random;
  random.state += seed * 977;
  const std::vector<double> values = random.values(count, 1);
  return {values.begin(), values.end()};
}

// A float32 layer with peepholes and, where P, a projection with its clip.
class TestLayer {
 public:
  TestLayer(lstmcore_cuda_context* context, std::int64_t I, std::int64_t H, std::int64_t P,
            bool tf32 = false) {
    Case c{1, 1, I, H, P};
    c.peepholes = c.clip = true;
    if (tf32) c.math = LSTMCORE_CUDA_TF32;
    Random random;
    const Model model = make_model(c, random);
    const lstmcore_cuda_spec spec = device_spec(c);
    const lstmcore_cuda_weights weights = host_weights(model);
    expect(api->create_layer(context, &spec, &weights, &layer_, error) == 0, "create_layer");
  }
  ~TestLayer() { api->destroy_layer(layer_); }
  TestLayer(const TestLayer&) = delete;
  int forward(const lstmcore_cuda_forward& args) const { return api->forward(layer_, &args, error); }

 private:
  lstmcore_cuda_layer* layer_ = nullptr;
};

// Time-major, dense.
lstmcore_cuda_forward call(std::int64_t T, std::int64_t N, const Array& x, std::int64_t I, const Array& y,
                           std::int64_t P, const Array& c_n, const Array& h_n) {
  lstmcore_cuda_forward args{};
  args.steps = T;
  args.batch = N;
  args.x = {x.data(), N * I, I};
  args.y = {y.data(), N * P, P};
  args.c_n = c_n.data();
  args.h_n = h_n.data();
  args.path = LSTMCORE_CUDA_STEPWISE;
  return args;
}

// Time is the emulator's, of which a step takes much: few steps, and every option alone where it is cheap.
std::vector<Case> grid() {
  std::vector<Case> cases;
  for (int dtype = 0; dtype < 4; ++dtype)
    for (const std::int64_t N : {0, 1, 3, 4, 5, 17})
      for (const std::int64_t P : {0, 6})
        for (const std::int64_t T : {1, 4}) {
          const std::vector<Case> all = variants({T, N, 7, N == 3 ? 14 : 13, P, dtype});
          if (T == 1 && N % 2)
            cases.insert(cases.end(), all.begin(), all.end());
          else
            cases.insert(cases.end(), all.begin() + 1, all.begin() + 3);
        }
  for (int dtype = 0; dtype < 4; ++dtype) {
    cases.push_back({2, 4, 3, 75, 0, dtype});   // several blocks, several terms a slice
    cases.push_back({1, 1, 41, 66, 0, dtype});  // the same with two units a thread in 16 bits
    cases.push_back({2, 70, 5, 17, 0, dtype});  // several tiles of the product
    cases.push_back({0, 3, 2, 5, 0, dtype});
    for (std::size_t k = cases.size() - 4; k < cases.size(); ++k)
      cases[k].state = cases[k].lengths = cases[k].peepholes = true;
  }
  return cases;
}

// Several chunks, the last one of an odd number of steps, from the second call on through graphs.
std::vector<Case> long_ones() {
  std::vector<Case> cases;
  for (const std::int64_t N : {1, 3, 5}) {
    Case c{131, N, 3, 5, N == 3 ? 4 : 0};
    c.calls = N == 1 ? 3 : 2;
    c.lengths = c.state = true;
    c.reverse = c.batch_major = N != 1;
    cases.push_back(c);
  }
  return cases;
}

// Arrays of other addresses and contents through one graph, while the first ones are alive.
void check_graph_reuse(lstmcore_cuda_context* context, std::int64_t N, std::int64_t P) {
  const std::int64_t T = 5, I = 5, H = 11, width = P ? P : H;
  const TestLayer layer(context, I, H, P);
  std::vector<std::vector<float>> direct;
  std::vector<std::unique_ptr<Array>> alive;
  const auto make = [&](const std::vector<float>& values) -> Array& {
    alive.push_back(std::make_unique<Array>(values));
    return *alive.back();
  };
  for (int round = 0; round < 2; ++round)
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      Array &x = make(floats(T * N * I, seed)), &y = make(floats(T * N * width, 9));
      Array &c = make(floats(N * H, 9)), &h = make(floats(N * width, 9)), &c_seq = make(floats(T * N * H, 9));
      lstmcore_cuda_forward args = call(T, N, x, I, y, width, c, h);
      if (seed % 2) args.c_seq = {c_seq.data(), N * H, H};
      expect(layer.forward(args) == 0, "graph reuse: forward");
      std::vector<float> all = y.get();
      for (const Array* more : {&c, &h, &c_seq}) {
        const std::vector<float> values = more->get();
        all.insert(all.end(), values.begin(), values.end());
      }
      if (round == 0)
        direct.push_back(all);
      else
        expect(all == direct[seed], "graph reuse: N" + std::to_string(N) + " P" + std::to_string(P));
    }
  expect(direct[0] != direct[2], "graph reuse: other inputs, other outputs");
}

// The caller's own capture, launched again after the input has changed, the lengths are gone, and a larger
// call has had the context's scratch memory.
void check_capture(lstmcore_cuda_context* context, std::int64_t T, std::int64_t N, std::int64_t P) {
  const std::string name =
      "capture T" + std::to_string(T) + " N" + std::to_string(N) + " P" + std::to_string(P);
  const std::int64_t I = 5, H = 11, width = P ? P : H, more = 40 * N;
  const TestLayer layer(context, I, H, P);
  const std::vector<float> first = floats(T * N * I, 1), second = floats(T * N * I, 2);
  Array x(second), y(std::size_t(T * N * width)), c(std::size_t(N * H)), h(std::size_t(N * width));
  const Array large_x(floats(T * more * I, 3)), large_y(std::size_t(T * more * width)),
      large_c(std::size_t(more * H)), large_h(std::size_t(more * width));
  const lstmcore_cuda_forward large = call(T, more, large_x, I, large_y, width, large_c, large_h);
  lstmcore_cuda_forward args = call(T, N, x, I, y, width, c, h);
  std::vector<std::int64_t> lengths(std::size_t(N), T);
  lengths[1] = 0;
  args.lengths = lengths.data();
  expect(layer.forward(args) == 0, name + ": direct");
  const std::vector<float> want_y = y.get(), want_c = c.get();

  x.set(first);
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  LSTMCORE_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  LSTMCORE_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  args.stream = stream;
  expect(layer.forward(args) == 0, name + ": captured");
  expect(api->synchronize(context, stream, error) == LSTMCORE_CUDA_INVALID, name + ": no waiting");
  LSTMCORE_CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
  lengths.assign(std::size_t(N), 0);
  LSTMCORE_CUDA_CHECK(cudaGraphInstantiate(&executable, graph, 0));
  LSTMCORE_CUDA_CHECK(cudaGraphLaunch(executable, stream));
  api->synchronize(context, stream, error);
  expect(y.get() != want_y, name + ": the first input gives something else");
  for (int launch = 0; launch < 3; ++launch) {
    x.set(second);
    y.set(std::vector<float>(std::size_t(T * N * width), 7.0f));
    expect(layer.forward(large) == 0, name + ": a larger call");
    LSTMCORE_CUDA_CHECK(cudaGraphLaunch(executable, stream));
    api->synchronize(context, stream, error);
    expect(y.get() == want_y && c.get() == want_c, name);
  }
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

// State and input of a cell call that are overwritten by it.
void check_in_place(lstmcore_cuda_context* context, std::int64_t N, std::int64_t P) {
  const std::string name = "in place N" + std::to_string(N) + " P" + std::to_string(P);
  const std::int64_t H = 75, width = P ? P : H, I = width;
  const TestLayer layer(context, I, H, P);
  const std::vector<float> x0 = floats(N * I, 1), c0 = floats(N * H, 2), h0 = floats(N * width, 3);
  Array x(x0), y(std::size_t(N * width)), c(c0), h(h0), c_n(std::size_t(N * H)), h_n(std::size_t(N * width));
  lstmcore_cuda_forward args = call(1, N, x, I, y, width, c_n, h_n);
  args.c0 = c.data();
  args.h0 = h.data();
  const std::vector<std::int64_t> lengths{1, 0, 1, 1, 0};
  args.lengths = lengths.data();
  expect(layer.forward(args) == 0, name);
  const std::vector<float> want_y = y.get(), want_c = c_n.get(), want_h = h_n.get();

  args.c_n = c.data();
  args.h_n = h.data();
  args.y.data = x.data();
  expect(layer.forward(args) == 0, name);
  expect(x.get() == want_y && c.get() == want_c && h.get() == want_h, name + ": all");
  c.set(c0);
  h.set(h0);
  x.set(x0);
  args.h_n = args.y.data = nullptr;
  args.c_n = nullptr;
  args.c_seq = {c_n.data(), N * H, H};
  expect(layer.forward(args) == 0, name + ": without outputs");
  expect(c.get() == c0 && h.get() == h0, name + ": untouched");
}

// Rows of x and y that are further apart than they are wide, and begin off any alignment but their type's.
void check_strides(lstmcore_cuda_context* context, std::int64_t T, std::int64_t N) {
  const std::string name = "strides T" + std::to_string(T) + " N" + std::to_string(N);
  const std::int64_t I = 5, H = 12, I_apart = I + 2, y_apart = 2 * H + 1;
  const TestLayer layer(context, I, H, 0);
  const std::vector<float> values = floats(T * N * I, 1);
  std::vector<float> apart(std::size_t(T * N * I_apart + 1), NAN);
  for (std::int64_t row = 0; row < T * N; ++row)
    std::memcpy(&apart[std::size_t(row * I_apart + 1)], &values[std::size_t(row * I)], std::size_t(I) * 4);
  Array x(values), y(std::size_t(T * N * H)), c(std::size_t(N * H)), h(std::size_t(N * H));
  Array x_apart(apart), out(std::size_t(T * N * y_apart + 1));
  lstmcore_cuda_forward args = call(T, N, x, I, y, H, c, h);
  expect(layer.forward(args) == 0, name);
  args.x = {x_apart.data() + 1, N * I_apart, I_apart};
  args.y = {out.data() + 1, N * y_apart, y_apart};
  expect(layer.forward(args) == 0, name + ": apart");
  const std::vector<float> want = y.get(), got = out.get();
  for (std::int64_t row = 0; row < T * N; ++row)
    for (std::int64_t k = 0; k < y_apart; ++k) {
      const float value = got[std::size_t(row * y_apart + k + 1)];
      const bool right = k < H ? std::abs(value - want[std::size_t(row * H + k)]) < 1e-5f : value == 7.0f;
      if (!right)
        return expect(false, name + ": row " + std::to_string(row) + " column " + std::to_string(k));
    }
  expect(true, name);
  if (N == 1) return;
  args.x.row_stride = I - 1;
  expect(layer.forward(args) == LSTMCORE_CUDA_INVALID && std::string(error).find("x:") == 0,
         name + ": rows that overlap");
}

void check_tf32(lstmcore_cuda_context* context) {
  for (const std::int64_t N : {1, 6}) {
    Case c{6, N, 7, 13, 6};
    c.math = LSTMCORE_CUDA_TF32;
    for (const Case& each : variants(c)) check_case(each, context);
  }
  // That float32 as such is not rounded is what its tolerance says; that tf32 is another way, this. Real
  // cuBLAS is free not to round products as small as these.
  const std::int64_t T = 5, N = 6, I = 7, H = 13;
  std::vector<float> outputs[2];
  for (const bool tf32 : {false, true}) {
    const TestLayer layer(context, I, H, 0, tf32);
    Array x(floats(T * N * I, 1)), y(std::size_t(T * N * H)), c(std::size_t(N * H)), h(std::size_t(N * H));
    expect(layer.forward(call(T, N, x, I, y, H, c, h)) == 0, "tf32");
    outputs[tf32] = y.get();
  }
  int version = 0;
  api->cublas_version(context, &version, error);
#ifdef LSTMCORE_CUDA_EMULATED
  expect(version == 0 || outputs[0] != outputs[1], "tf32 is taken where cuBLAS multiplies");
#endif
  expect(version > 0 || outputs[0] == outputs[1], "tf32 is not taken where cuBLAS does not multiply");
}

void check_all(lstmcore_cuda_context* context) {
  Array::context = context;
  for (const std::int64_t P : {0, 4})
    for (const std::int64_t N : {2, 5}) {
      check_graph_reuse(context, N, P);
      check_capture(context, 1, N, P);
      check_capture(context, 3, N, P);
      check_in_place(context, N, P);
    }
  for (const std::int64_t N : {1, 3, 6})
    for (const std::int64_t T : {1, 3}) check_strides(context, T, N);
  check_tf32(context);
}

void tests(lstmcore_cuda_context* context) {
  int version = 0;
  const bool given = std::getenv("LSTMCORE_CUBLAS");  // else it may be that the loader finds none
  expect(api->cublas_version(context, &version, error) == 0 && version >= (given ? 120000 : 0),
         "a version of cuBLAS");
  std::printf("cuBLAS %d\n", version);
  for (const Case& c : grid()) check_case(c, context);
  for (const Case& c : long_ones()) check_case(c, context);
  check_all(context);

  // The same without cuBLAS.
  lstmcore_cuda_context* plain = nullptr;
  expect(api->create_context(0, "none", &plain, error) == 0, "without cuBLAS");
  expect(api->cublas_version(plain, &version, error) == 0 && version == 0, "no version");
  for (const Case& c : grid())
    if ((c.T > 1 && c.N >= 4) || (c.T == 1 && c.N == 1 && c.P)) check_case(c, plain);
  check_all(plain);
  api->destroy_context(plain);
}

}  // namespace

int main() { return run_tests(tests); }
