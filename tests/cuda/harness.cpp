#include "harness.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace lstmcore {
namespace cuda {

const lstmcore_cuda_api_v1* const api =
    static_cast<const lstmcore_cuda_api_v1*>(lstmcore_cuda_api(LSTMCORE_CUDA_ABI));
char error[LSTMCORE_CUDA_ERROR_SIZE];

namespace {

constexpr int kSkipped = 77;  // what CTest takes for "skipped"
int failures = 0, checks = 0;
lstmcore_cuda_device device;

double tolerance(const Case& c) {
  if (c.math == LSTMCORE_CUDA_TF32) return 2e-3;
  if (c.math == LSTMCORE_CUDA_TF32X3) return 5e-6;
  const double limits[] = {2e-6, 1e-13, 3e-3, 1.5e-2};
  return limits[c.dtype];
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
  if (c.proj_clip()) spec.proj_clip = 0.2;
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

}  // namespace

void expect(bool ok, const std::string& what) {
  ++checks;
  if (ok) return;
  ++failures;
  std::printf("FAILED: %s (%s)\n", what.c_str(), error);
}

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
  spec.has_cell_clip = c.clip;
  spec.has_proj_clip = c.proj_clip();
  spec.cell_clip = 0.4;
  spec.proj_clip = 0.2;
  spec.activation = int(c.activation);
  spec.recurrent_activation = int(c.gates);
  spec.dtype = c.dtype;
  spec.math = c.math;
  spec.kernel = c.kernel;
  spec.rows_per_group = c.rows;
  return spec;
}

lstmcore_cuda_weights host_weights(const Model& m) {
  return {m.W.data(), m.R.data(), m.b.data(), m.p_i.data(), m.p_f.data(), m.p_o.data(), m.projection.data()};
}

void check_case(const Case& c, lstmcore_cuda_context* context) {
  if (c.path == LSTMCORE_CUDA_CLUSTER && device.max_cluster == 1) return;  // as GPUs before 9.0
  const char* chosen = std::getenv("LSTMCORE_CUDA_CASES");
  if (chosen && c.name().find(chosen) == std::string::npos) return;
  Random random;
  random.state += std::uint64_t(c.H * 1000 + c.N);
  const Model m = make_model(c, random);
  const std::int64_t P = c.P ? c.P : c.H;
  const int wide = c.dtype == LSTMCORE_CUDA_FLOAT64 ? 1 : 0;
  const lstmcore_cuda_spec spec = device_spec(c);
  const lstmcore_cuda_weights weights = host_weights(m);
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
      const OnDevice& y_place = c.in_place ? dx : dy;
      if (c.y) args.y = strided(y_place.get(), P);
      if (c.c_seq) args.c_seq = strided(dcs.get(), c.H);
      args.c0 = c.state ? dc0.get() : nullptr;
      args.h0 = c.state ? dh0.get() : nullptr;
      args.lengths = c.lengths ? lengths.data() : nullptr;
      args.c_n = c.c_n ? dcn.get() : nullptr;
      args.h_n = c.h_n ? dhn.get() : nullptr;
      args.reverse = c.reverse;
      args.path = c.path;
      if (c.before) c.before(layer, args);
      expect(api->forward(layer, &args, error) == 0, c.name() + ": forward");
      expect(api->synchronize(context, nullptr, error) == 0, c.name() + ": synchronize");
      y_place.read(y);
      dcs.read(c_seq);
      dcn.read(c_n);
      dhn.read(h_n);
      expect(api->synchronize(context, nullptr, error) == 0, c.name() + ": read");
    }
    const double limit = tolerance(c);
    const double errors[] = {relative_error(y.rounded(), want.y), relative_error(c_seq.rounded(), want.c_seq),
                             relative_error(c_n.rounded(), want.c_n),
                             relative_error(h_n.rounded(), want.h_n)};
    const char* names[] = {"y", "c_seq", "c_n", "h_n"};
    const bool wanted[] = {c.y, c.c_seq, c.c_n, c.h_n};
    for (int k = 0; k < 4; ++k)
      expect(!wanted[k] || errors[k] <= limit,
             c.name() + ": " + names[k] + " is " + std::to_string(errors[k] / limit) + " limits off");
    const std::vector<std::vector<char>> all = {y.data, c_seq.data, c_n.data, h_n.data};
    if (first.empty()) first = all;
    expect(all == first, c.name() + ": another call, other bits");
  }
  api->destroy_layer(layer);
}

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

int run_tests(void (*tests)(lstmcore_cuda_context*)) {
  int count = 0;
  if (api->device_count(&count, error) != 0) {
    std::printf("skipped: %s\n", error);
    return kSkipped;
  }
  expect(api->device(0, &device, error) == 0, "device");
  lstmcore_cuda_context* context = nullptr;
  expect(api->create_context(0, std::getenv("LSTMCORE_CUBLAS"), &context, error) == 0, "context");
  if (!context) return 1;
  tests(context);
  api->destroy_context(context);
  std::printf("%d checks, %d failures\n", checks, failures);
  return failures != 0;
}

}  // namespace cuda
}  // namespace lstmcore
