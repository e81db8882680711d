// One call of the CUDA library against the CPU kernels in float64; used by all tests of cuda/.
#pragma once

#include <string>
#include <vector>

#include "dtypes.h"
#include "lstmcore/cuda_abi.h"
#include "lstmcore/lstm.h"

namespace lstmcore {
namespace cuda {

extern const lstmcore_cuda_api_v1* const api;
extern char error[LSTMCORE_CUDA_ERROR_SIZE];  // of the last call

void expect(bool ok, const std::string& what);

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
  int math = LSTMCORE_CUDA_IEEE, kernel = LSTMCORE_CUDA_KERNEL_FMA, rows = 0;
  bool y = true, c_seq = true, c_n = true, h_n = true;  // which outputs are wanted
  bool in_place = false;                                // y takes the place of x, which is as wide
  void (*before)(lstmcore_cuda_layer*, const lstmcore_cuda_forward&) = nullptr;  // each call

  // `clip` is that of the cell, and of the projection where the path has one.
  bool proj_clip() const { return clip && P && path <= LSTMCORE_CUDA_STEPWISE; }

  std::string name() const {
    return "T" + std::to_string(T) + " N" + std::to_string(N) + " I" + std::to_string(I) + " H" +
           std::to_string(H) + " P" + std::to_string(P) + " dtype" + std::to_string(dtype) + " path" +
           std::to_string(path) + " math" + std::to_string(math) + " kernel" + std::to_string(kernel) +
           " rows" + std::to_string(rows) + (peepholes ? " peepholes" : "") + (clip ? " clip" : "") +
           (batch_major ? " batch-major" : "") + (reverse ? " reverse" : "") + (lengths ? " lengths" : "") +
           (state ? " state" : "") + (calls > 1 ? " repeated" : "") + (in_place ? " in place" : "") +
           (y ? "" : " -y") + (c_seq ? "" : " -c_seq") + (c_n ? "" : " -c_n") + (h_n ? "" : " -h_n");
  }
};

struct Model {
  std::vector<double> W, R, b, p_i, p_f, p_o, projection;
};

Model make_model(const Case& c, Random& random);
lstmcore_cuda_spec device_spec(const Case& c);
lstmcore_cuda_weights host_weights(const Model& m);

// Poisoned outputs, every output within its tolerance, c.calls calls with the same bits. LSTMCORE_CUDA_CASES:
// only cases whose name has this in it, as for a sanitizer, under which all would take too long.
void check_case(const Case& c, lstmcore_cuda_context* context);

// Every option at once, and each alone where it changes the way.
std::vector<Case> variants(Case base);

// A test's main: runs `tests` where there is a device, and reports; else says why there is none, and
// gives 77.
int run_tests(void (*tests)(lstmcore_cuda_context*));

}  // namespace cuda
}  // namespace lstmcore
