// A device whose memory is full, the emulated one or a real one: calls take fewer steps at a time or say that
// there is no memory, and give the same as before once there is memory again. No library of cuBLAS where
// there is none.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "harness.h"
#ifdef LSTMCORE_CUDA_EMULATED
#include "emulator/faults.h"
#endif

using namespace lstmcore;
using namespace lstmcore::cuda;

namespace {

// Of x W, 3072 bytes a step: more than what is left over between the pieces.
#ifdef LSTMCORE_CUDA_EMULATED
constexpr std::int64_t kSteps = 1000;
#else
constexpr std::int64_t kSteps = 40000;
#endif

// All that the device will give, down to pieces of a megabyte.
class Filling {
 public:
  explicit Filling(std::size_t memory) {
    for (std::size_t bytes = memory; bytes >= std::size_t{1} << 20;) {
      void* piece = nullptr;
      if (api->allocate(0, bytes, nullptr, &piece, error) == 0)
        pieces_.push_back(piece);
      else
        bytes /= 2;
    }
  }
  ~Filling() {
    for (void* piece : pieces_) api->release(0, piece, nullptr, error);
  }
  Filling(const Filling&) = delete;
  bool any() const { return !pieces_.empty(); }

 private:
  std::vector<void*> pieces_;
};

// A layer with the arrays of its calls, in which only a row's last state is written.
class Setup {
 public:
  Setup(lstmcore_cuda_context* context, std::int64_t T, std::int64_t N, int path)
      : context_(context), T_(T), N_(N), path_(path) {
    const Case c{T, N, kInputs, kUnits};
    Random random;
    const Model model = make_model(c, random);
    const lstmcore_cuda_spec spec = device_spec(c);
    const lstmcore_cuda_weights weights = host_weights(model);
    expect(api->create_layer(context, &spec, &weights, &layer_, error) == 0, "create_layer");
    std::vector<float> x;
    for (const double value : random.values(T * N * kInputs, 1)) x.push_back(float(value));
    expect(api->allocate(0, x.size() * 4, nullptr, &x_, error) == 0, "x");
    expect(api->allocate(0, std::size_t(2 * N * kUnits) * 4, nullptr, &state_, error) == 0, "state");
    api->copy(0, x_, x.data(), x.size() * 4, nullptr, error);
    api->synchronize(context, nullptr, error);
  }
  ~Setup() {
    api->destroy_layer(layer_);
    for (void* memory : {x_, state_}) api->release(0, memory, nullptr, error);
  }
  Setup(const Setup&) = delete;

  int forward(std::int64_t steps) const {
    lstmcore_cuda_forward args{};
    args.steps = steps;
    args.batch = N_;
    args.x = {x_, N_ * kInputs, kInputs};
    args.c_n = state_;
    args.h_n = static_cast<float*>(state_) + N_ * kUnits;
    args.path = path_;
    const int status = api->forward(layer_, &args, error);
    return status ? status : api->synchronize(context_, nullptr, error);
  }
  int forward() const { return forward(T_); }
  std::vector<float> state() const {
    std::vector<float> values(std::size_t(2 * N_ * kUnits));
    api->copy(0, values.data(), state_, values.size() * 4, nullptr, error);
    expect(api->synchronize(context_, nullptr, error) == 0, "state");
    return values;
  }

 private:
  static constexpr std::int64_t kInputs = 3, kUnits = 24;
  lstmcore_cuda_context* context_;
  std::int64_t T_, N_;
  int path_;
  lstmcore_cuda_layer* layer_ = nullptr;
  void *x_ = nullptr, *state_ = nullptr;
};

bool near(const std::vector<float>& got, const std::vector<float>& want) {
  double worst = 0;
  for (std::size_t k = 0; k < want.size(); ++k) worst = std::max(worst, std::fabs(double(got[k]) - want[k]));
  return worst < 1e-5;
}

void check_full(lstmcore_cuda_context* context, int path) {
  const std::string name = "path " + std::to_string(path);
  lstmcore_cuda_device device;
  expect(api->device(0, &device, error) == 0, "device");
  const Setup roomy(context, kSteps, 8, path);
  expect(roomy.forward() == 0, name + ": before");
  const std::vector<float> want = roomy.state();
  lstmcore_cuda_context* fresh = nullptr;  // without scratch memory, but for a step's
  expect(api->create_context(0, "none", &fresh, error) == 0, name);
  {
    const Setup tight(fresh, kSteps, 8, path);
    expect(tight.forward(1) == 0, name + ": one step");
    {
      const Filling filling(device.memory);
      expect(filling.any(), name + ": filled");
      const int status = tight.forward();
      std::printf("%s, memory full: status %d\n", name.c_str(), status);
      expect(status == 0 || status == LSTMCORE_CUDA_OUT_OF_MEMORY, name + ": full");
      if (status == 0) expect(near(tight.state(), want), name + ": fewer steps at a time");
    }
    expect(tight.forward() == 0 && near(tight.state(), want), name + ": afterwards");
  }
  api->destroy_context(fresh);
  expect(roomy.forward() == 0 && roomy.state() == want, name + ": others");
}

void tests(lstmcore_cuda_context* context) {
#ifdef LSTMCORE_CUDA_EMULATED
  emulator_limit_memory(std::size_t{80} << 20);  // it takes time to fill more
#endif
  check_full(context, LSTMCORE_CUDA_STEPWISE);
  check_full(context, LSTMCORE_CUDA_BLOCK);
  lstmcore_cuda_context* none = nullptr;
  expect(api->create_context(0, "libm.so.6", &none, error) == LSTMCORE_CUDA_UNAVAILABLE &&
             std::string(error).find("it has no cublasLtGetVersion") != std::string::npos,
         "a library, but not cuBLAS");
}

}  // namespace

int main() { return run_tests(tests); }
