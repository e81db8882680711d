// cuda/ through its C interface, on the emulator or a GPU, against the CPU kernels in float64.
// Every path, dtype and option, odd sizes, chunked sequences, repeated calls (graphs), faults.
#include <cuda_runtime.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "dtypes.h"
#include "lstmcore/cuda_abi.h"
#include "lstmcore/lstm.h"
#include "status.h"

using namespace lstmcore;
using namespace lstmcore::cuda;

namespace {

const auto* const api = static_cast<const lstmcore_cuda_api_v1*>(lstmcore_cuda_api(LSTMCORE_CUDA_ABI));
char error[LSTMCORE_CUDA_ERROR_SIZE];
int failures = 0, checks = 0;

void expect(bool ok, const std::string& what) {
  ++checks;
  if (ok) return;
  ++failures;
  std::printf("FAILED: %s (%s)\n", what.c_str(), error);
}

struct Random {
  std::uint64_t state = 88172645463325252ull;
  double next() {  // -1 to 1
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return double(state >> 11) * 0x1p-52 - 1;
  }
  std::vector<double> values(std::int64_t count, double scale) {
    std::vector<double> result;
    for (std::int64_t k = 0; k < count; ++k) result.push_back(scale * next());
    return result;
  }
};

struct Case {
  std::int64_t T, N, I, H, P = 0;
  int dtype = LSTMCORE_CUDA_FLOAT32, path = LSTMCORE_CUDA_STEPWISE;
  bool peepholes = false, clip = false, batch_major = false, reverse = false, lengths = false, state = false;
  Activation activation = Activation::tanh, gates = Activation::sigmoid;
  int calls = 1;

  std::string name() const {
    return "T" + std::to_string(T) + " N" + std::to_string(N) + " I" + std::to_string(I) + " H" +
           std::to_string(H) + " P" + std::to_string(P) + " dtype" + std::to_string(dtype) + " path" +
           std::to_string(path) + (peepholes ? " peepholes" : "") + (clip ? " clip" : "") +
           (batch_major ? " batch-major" : "") + (reverse ? " reverse" : "") + (lengths ? " lengths" : "") +
           (state ? " state" : "") + (calls > 1 ? " repeated" : "");
  }
};

double tolerance(int dtype) {
  const double limits[] = {2e-6, 1e-13, 3e-3, 1.5e-2};
  return limits[dtype];
}

// Values as the dtype holds them, in its bytes.
struct Bytes {
  std::vector<char> data;
  int dtype;

  Bytes(const std::vector<double>& values, int dtype) : data(values.size() * width(dtype)), dtype(dtype) {
    for (std::size_t k = 0; k < values.size(); ++k) put(k, values[k]);
  }
  static std::size_t width(int dtype) { return dtype == 0 ? 4 : dtype == 1 ? 8 : 2; }
  template <class S>
  S& at(std::size_t k) {
    return reinterpret_cast<S*>(data.data())[k];
  }
  void put(std::size_t k, double value) {
    if (dtype == LSTMCORE_CUDA_FLOAT32) at<float>(k) = float(value);
    if (dtype == LSTMCORE_CUDA_FLOAT64) at<double>(k) = value;
    if (dtype == LSTMCORE_CUDA_FLOAT16) at<float16>(k) = store<float16>(float(value));
    if (dtype == LSTMCORE_CUDA_BFLOAT16) at<bfloat16>(k) = store<bfloat16>(float(value));
  }
  double get(std::size_t k) {
    if (dtype == LSTMCORE_CUDA_FLOAT32) return at<float>(k);
    if (dtype == LSTMCORE_CUDA_FLOAT64) return at<double>(k);
    return dtype == LSTMCORE_CUDA_FLOAT16 ? load(at<float16>(k)) : load(at<bfloat16>(k));
  }
  std::vector<double> rounded() {
    std::vector<double> result;
    for (std::size_t k = 0; k < data.size() / width(dtype); ++k) result.push_back(get(k));
    return result;
  }
};

std::vector<double> as_dtype(const std::vector<double>& values, int dtype) {
  return Bytes(values, dtype).rounded();
}

class OnDevice {
 public:
  explicit OnDevice(const Bytes& bytes) : size_(bytes.data.size()) {
    expect(api->allocate(0, size_, nullptr, &memory_, error) == 0, "allocate");
    api->copy(0, memory_, bytes.data.data(), size_, nullptr, error);
  }
  ~OnDevice() { api->release(0, memory_, nullptr, error); }
  OnDevice(const OnDevice&) = delete;
  void* get() const { return memory_; }
  void read(Bytes& bytes) const { api->copy(0, bytes.data.data(), memory_, size_, nullptr, error); }

 private:
  void* memory_ = nullptr;
  std::size_t size_;
};

struct Model {
  std::vector<double> W, R, b, p_i, p_f, p_o, projection;
};

Model make_model(const Case& c, Random& random) {
  const std::int64_t P = c.P ? c.P : c.H;
  Model m;
  const double scale = 1.5 / std::sqrt(double(c.I + P));
  m.W = as_dtype(random.values(c.I * 4 * c.H, scale), c.dtype);
  m.R = as_dtype(random.values(P * 4 * c.H, scale), c.dtype);
  const int wide = c.dtype == LSTMCORE_CUDA_FLOAT64 ? 1 : 0;
  m.b = as_dtype(random.values(4 * c.H, 0.5), wide);
  m.p_i = as_dtype(random.values(c.H, 0.5), wide);
  m.p_f = as_dtype(random.values(c.H, 0.5), wide);
  m.p_o = as_dtype(random.values(c.H, 0.5), wide);
  m.projection = as_dtype(random.values(c.H * P, 1.5 / std::sqrt(double(c.H))), c.dtype);
  return m;
}

lstmcore_cuda_spec device_spec(const Case& c) {
  lstmcore_cuda_spec spec{};
  spec.input_size = c.I;
  spec.num_units = c.H;
  spec.num_proj = c.P;
  spec.peepholes = c.peepholes;
  spec.forget_bias = 0.75;
  spec.has_cell_clip = spec.has_proj_clip = c.clip;
  spec.cell_clip = 0.4;
  spec.proj_clip = 0.2;
  spec.activation = int(c.activation);
  spec.recurrent_activation = int(c.gates);
  spec.dtype = c.dtype;
  return spec;
}

struct Result {
  std::vector<double> y, c_seq, c_n, h_n;
};

Result reference(const Case& c, const Model& m, const std::vector<double>& x, const std::vector<double>& c0,
                 const std::vector<double>& h0, const std::vector<std::int64_t>& lengths) {
  const std::int64_t P = c.P ? c.P : c.H;
  LstmSpec spec;
  spec.input_size = c.I;
  spec.num_units = c.H;
  if (c.P) spec.num_proj = c.P;
  spec.peepholes = c.peepholes;
  spec.forget_bias = 0.75;
  if (c.clip) spec.cell_clip = 0.4;
  if (c.clip) spec.proj_clip = 0.2;
  spec.activation = c.activation;
  spec.recurrent_activation = c.gates;
  const Lstm<double> lstm(spec, {m.W.data(), m.R.data(), m.b.data(), m.p_i.data(), m.p_f.data(), m.p_o.data(),
                                 c.P ? m.projection.data() : nullptr});
  Result r{std::vector<double>(std::size_t(c.T * c.N * P)), std::vector<double>(std::size_t(c.T * c.N * c.H)),
           std::vector<double>(std::size_t(c.N * c.H)), std::vector<double>(std::size_t(c.N * P))};
  const auto strides = [&](std::int64_t width) {
    return c.batch_major ? std::make_pair(width, c.T * width) : std::make_pair(c.N * width, width);
  };
  ForwardArgs<double> args;
  args.steps = c.T;
  args.batch = c.N;
  args.x = {x.data(), strides(c.I).first, strides(c.I).second};
  args.y = {r.y.data(), strides(P).first, strides(P).second};
  args.c_seq = {r.c_seq.data(), strides(c.H).first, strides(c.H).second};
  args.c0 = c.state ? c0.data() : nullptr;
  args.h0 = c.state ? h0.data() : nullptr;
  args.lengths = c.lengths ? lengths.data() : nullptr;
  args.reverse = c.reverse;
  args.c_n = r.c_n.data();
  args.h_n = r.h_n.data();
  lstm.forward(args);
  return r;
}

double relative_error(const std::vector<double>& got, const std::vector<double>& want) {
  double difference = 0, size = 0;
  for (std::size_t k = 0; k < want.size(); ++k) {
    difference += (got[k] - want[k]) * (got[k] - want[k]);
    size += want[k] * want[k];
  }
  return std::sqrt(difference) / (std::sqrt(size) + 1e-30);
}

void check_case(const Case& c, lstmcore_cuda_context* context) {
  Random random;
  random.state += std::uint64_t(c.H * 1000 + c.N);
  const Model m = make_model(c, random);
  const std::int64_t P = c.P ? c.P : c.H;
  const int wide = c.dtype == LSTMCORE_CUDA_FLOAT64 ? 1 : 0;
  const lstmcore_cuda_spec spec = device_spec(c);
  const lstmcore_cuda_weights weights{m.W.data(),   m.R.data(),   m.b.data(),         m.p_i.data(),
                                      m.p_f.data(), m.p_o.data(), m.projection.data()};
  lstmcore_cuda_layer* layer = nullptr;
  expect(api->create_layer(context, &spec, &weights, &layer, error) == 0, c.name() + ": create");
  if (!layer) return;
  std::vector<std::vector<char>> first;
  for (int call = 0; call < c.calls; ++call) {
    Random inputs;  // the same in every call
    Bytes x(inputs.values(c.T * c.N * c.I, 1), c.dtype), c0(inputs.values(c.N * c.H, 0.3), wide);
    Bytes h0(inputs.values(c.N * P, 0.3), c.dtype);
    std::vector<std::int64_t> lengths;
    for (std::int64_t n = 0; n < c.N; ++n) lengths.push_back((c.T * (n + 1) * 7 / 5) % (c.T + 1));
    const Result want = reference(c, m, x.rounded(), c0.rounded(), h0.rounded(), lengths);
    const std::vector<double> poison(std::size_t(c.T * c.N * std::max(c.H, P)), 7.0);
    Bytes y(poison, c.dtype), c_seq(poison, wide), c_n(poison, wide), h_n(poison, c.dtype);
    y.data.resize(want.y.size() * Bytes::width(c.dtype));
    c_seq.data.resize(want.c_seq.size() * Bytes::width(wide));
    c_n.data.resize(want.c_n.size() * Bytes::width(wide));
    h_n.data.resize(want.h_n.size() * Bytes::width(c.dtype));
    {
      const OnDevice dx(x), dc0(c0), dh0(h0), dy(y), dcs(c_seq), dcn(c_n), dhn(h_n);
      const auto strided = [&](void* data, std::int64_t width) {
        return c.batch_major ? lstmcore_cuda_sequence{data, width, c.T * width}
                             : lstmcore_cuda_sequence{data, c.N * width, width};
      };
      lstmcore_cuda_forward args{};
      args.steps = c.T;
      args.batch = c.N;
      args.x = strided(dx.get(), c.I);
      args.y = strided(dy.get(), P);
      args.c_seq = strided(dcs.get(), c.H);
      args.c0 = c.state ? dc0.get() : nullptr;
      args.h0 = c.state ? dh0.get() : nullptr;
      args.lengths = c.lengths ? lengths.data() : nullptr;
      args.c_n = dcn.get();
      args.h_n = dhn.get();
      args.reverse = c.reverse;
      args.path = c.path;
      expect(api->forward(layer, &args, error) == 0, c.name() + ": forward");
      expect(api->synchronize(context, nullptr, error) == 0, c.name() + ": synchronize");
      dy.read(y);
      dcs.read(c_seq);
      dcn.read(c_n);
      dhn.read(h_n);
      expect(api->synchronize(context, nullptr, error) == 0, c.name() + ": read");
    }
    const double limit = tolerance(c.dtype);
    const double errors[] = {relative_error(y.rounded(), want.y), relative_error(c_seq.rounded(), want.c_seq),
                             relative_error(c_n.rounded(), want.c_n),
                             relative_error(h_n.rounded(), want.h_n)};
    const char* names[] = {"y", "c_seq", "c_n", "h_n"};
    for (int k = 0; k < 4; ++k)
      expect(errors[k] <= limit,
             c.name() + ": " + names[k] + " is " + std::to_string(errors[k] / limit) + " limits off");
    const std::vector<std::vector<char>> all = {y.data, c_seq.data, c_n.data, h_n.data};
    if (first.empty()) first = all;
    expect(all == first, c.name() + ": another call, other bits");
  }
  api->destroy_layer(layer);
}

// Every option at once, and each alone where it changes the way.
std::vector<Case> variants(Case base) {
  std::vector<Case> cases = {base};
  Case c = base;
  c.peepholes = c.clip = c.lengths = c.state = true;
  cases.push_back(c);
  c.reverse = c.batch_major = true;
  cases.push_back(c);
  c = base;
  c.batch_major = c.lengths = true;
  c.activation = Activation::relu;
  c.gates = Activation::hard_sigmoid;
  cases.push_back(c);
  c = base;
  c.reverse = c.lengths = true;
  c.calls = 3;
  cases.push_back(c);
  return cases;
}

// Each option alone, on every path of every dtype.
std::vector<Case> single_options() {
  bool Case::* const options[] = {&Case::peepholes, &Case::clip,    &Case::batch_major,
                                  &Case::reverse,   &Case::lengths, &Case::state};
  std::vector<Case> cases;
  for (int dtype = 0; dtype < 4; ++dtype)
    for (int path = LSTMCORE_CUDA_STEPWISE; path <= LSTMCORE_CUDA_GRID; ++path) {
      if (dtype == LSTMCORE_CUDA_FLOAT64 && path != LSTMCORE_CUDA_STEPWISE) continue;
      const bool several_blocks = path == LSTMCORE_CUDA_CLUSTER || path == LSTMCORE_CUDA_GRID;
      const Case base{4, 3, 5, several_blocks ? 17 : 7, 0, dtype, path};
      for (const auto option : options) {
        cases.push_back(base);
        cases.back().*option = true;
      }
    }
  return cases;
}

// The ends of the sizes. No persistent kernel runs over nothing, which is the planner's business.
std::vector<Case> smallest_sizes() {
  std::vector<Case> cases;
  for (int dtype = 0; dtype < 4; ++dtype)
    for (int path = LSTMCORE_CUDA_AUTO; path <= LSTMCORE_CUDA_GRID; ++path) {
      if (dtype == LSTMCORE_CUDA_FLOAT64 && path > LSTMCORE_CUDA_STEPWISE) continue;
      const std::int64_t H = path == LSTMCORE_CUDA_CLUSTER || path == LSTMCORE_CUDA_GRID ? 17 : 1;
      cases.push_back({1, 1, 1, H, 0, dtype, path});
      cases.push_back({1, 2, 3, H, 0, dtype, path});
      if (path > LSTMCORE_CUDA_STEPWISE) continue;
      cases.push_back({1, 2, 3, 5, 1, dtype, path});
      cases.push_back({0, 2, 3, 5, 0, dtype, path});
      cases.push_back({3, 0, 3, 5, 2, dtype, path});
      cases.push_back({0, 0, 3, 5, 0, dtype, path});
    }
  const std::vector<Case> plain = cases;
  for (Case c : plain) {
    c.lengths = c.state = c.reverse = c.clip = c.peepholes = true;
    cases.push_back(c);
  }
  return cases;
}

std::vector<Case> all_cases() {
  std::vector<Case> bases;
  for (int dtype = 0; dtype < 4; ++dtype) {
    bases.push_back({5, 3, 7, 13, 0, dtype});
    bases.push_back({5, 3, 7, 13, 6, dtype});
    if (dtype == LSTMCORE_CUDA_FLOAT64) continue;
    bases.push_back({6, 1, 5, 9, 0, dtype, LSTMCORE_CUDA_BLOCK});
    bases.push_back({4, 5, 3, 61, 0, dtype, LSTMCORE_CUDA_BLOCK});
    bases.push_back({6, 1, 5, 75, 0, dtype, LSTMCORE_CUDA_CLUSTER});
    bases.push_back({4, 9, 3, 30, 0, dtype, LSTMCORE_CUDA_CLUSTER});
    bases.push_back({6, 1, 5, 75, 0, dtype, LSTMCORE_CUDA_GRID});
    bases.push_back({4, 9, 3, 30, 0, dtype, LSTMCORE_CUDA_GRID});
  }
  std::vector<Case> cases;
  for (const Case& base : bases)
    for (const Case& c : variants(base)) cases.push_back(c);
  cases.push_back({300, 2, 3, 5});                               // several chunks
  cases.push_back({3, 1, 2, 260, 0, 0, LSTMCORE_CUDA_CLUSTER});  // weights in shared memory too
  cases.push_back({0, 3, 2, 5});
  cases.push_back({3, 0, 2, 5});
  cases.push_back({8, 2, 1, 1, 0, 0, LSTMCORE_CUDA_BLOCK});
  for (std::size_t k = cases.size() - 5; k + 2 < cases.size(); ++k)
    cases[k].batch_major = cases[k].reverse = true;
  return cases;
}

void check_errors(lstmcore_cuda_context* context) {
  const Case c{5, 3, 7, 13};
  Random random;
  const Model m = make_model(c, random);
  const lstmcore_cuda_spec spec = device_spec(c);
  const lstmcore_cuda_weights weights{m.W.data(), m.R.data(), m.b.data(), nullptr, nullptr, nullptr, nullptr};
  lstmcore_cuda_layer* layer = nullptr;
  api->create_layer(context, &spec, &weights, &layer, error);
  lstmcore_cuda_forward args{};
  args.steps = 5;
  args.batch = 3;
  const std::int64_t lengths[] = {1, 6, 2};
  args.lengths = lengths;
  expect(api->forward(layer, &args, error) == LSTMCORE_CUDA_INVALID, "lengths beyond T");
  args.lengths = nullptr;
  args.path = 9;
  expect(api->forward(layer, &args, error) == LSTMCORE_CUDA_INVALID, "no such path");
  api->destroy_layer(layer);
  lstmcore_cuda_context* other = nullptr;
  expect(api->create_context(99, std::getenv("LSTMCORE_CUBLAS"), &other, error) == LSTMCORE_CUDA_INVALID,
         "no cuda:99");
  expect(api->create_context(0, "/nowhere/libcublas.so", &other, error) == LSTMCORE_CUDA_UNAVAILABLE,
         "no cuBLAS");
  void* memory = nullptr;
  expect(api->allocate(0, std::size_t{1} << 60, nullptr, &memory, error) == LSTMCORE_CUDA_OUT_OF_MEMORY,
         "2^60 bytes");
  expect(lstmcore_cuda_api(99) == nullptr, "version 99");
}

}  // namespace

int main() {
  int count = 0;
  if (api->device_count(&count, error) != 0) {
    std::printf("skipped: %s\n", error);
    return 0;
  }
  lstmcore_cuda_context* context = nullptr;
  expect(api->create_context(0, std::getenv("LSTMCORE_CUBLAS"), &context, error) == 0, "context");
  if (!context) return 1;
  for (const Case& c : all_cases()) check_case(c, context);
  for (const Case& c : single_options()) check_case(c, context);
  for (const Case& c : smallest_sizes()) check_case(c, context);
  check_errors(context);
  api->destroy_context(context);
  std::printf("%d checks, %d failures\n", checks, failures);
  return failures != 0;
}
