// Layers with a projection on the persistent paths, which fold it into R: against the CPU kernels in float64,
// on the emulator or a GPU. Every path, kernel and dtype, any width of the projection, every choice of
// outputs, and chunks of steps.
#include <cstdlib>

#ifdef LSTMCORE_CUDA_EMULATED
#include "emulator/faults.h"
#endif
#include "harness.h"

using namespace lstmcore;
using namespace lstmcore::cuda;

namespace {

struct Kind {
  int dtype, math, kernel;
};
constexpr Kind kKinds[] = {{LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_IEEE, LSTMCORE_CUDA_KERNEL_FMA},
                           {LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_TF32, LSTMCORE_CUDA_KERNEL_MMA},
                           {LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_TF32X3, LSTMCORE_CUDA_KERNEL_MMA},
                           {LSTMCORE_CUDA_FLOAT16, LSTMCORE_CUDA_IEEE, LSTMCORE_CUDA_KERNEL_FMA},
                           {LSTMCORE_CUDA_FLOAT16, LSTMCORE_CUDA_IEEE, LSTMCORE_CUDA_KERNEL_MMA},
                           {LSTMCORE_CUDA_BFLOAT16, LSTMCORE_CUDA_IEEE, LSTMCORE_CUDA_KERNEL_FMA},
                           {LSTMCORE_CUDA_BFLOAT16, LSTMCORE_CUDA_IEEE, LSTMCORE_CUDA_KERNEL_MMA}};
constexpr int kPaths[] = {LSTMCORE_CUDA_BLOCK, LSTMCORE_CUDA_CLUSTER, LSTMCORE_CUDA_GRID};

Case with_projection(Kind kind, int path, std::int64_t T, std::int64_t N, std::int64_t P) {
  Case c{T, N, 5, path == LSTMCORE_CUDA_BLOCK ? 23 : 43, P, kind.dtype, path};
  c.math = kind.math;
  c.kernel = kind.kernel;
  return c;
}

std::vector<Case> cases_of(Kind kind, int path) {
  std::vector<Case> cases;
  for (const Case& c : variants(with_projection(kind, path, 4, 11, 11))) cases.push_back(c);
  Case c = with_projection(kind, path, 5, 3, 1);
  c.lengths = c.state = c.peepholes = c.clip = true;
  cases.push_back(c);
  c.P = 5 * c.H;  // wider than x W
  cases.push_back(c);
  c = with_projection(kind, path, 1, 9, 5);
  c.state = true;
  cases.push_back(c);
  return cases;
}

// In both directions: rows begin at their own ends.
std::vector<Case> outputs_of(Kind kind, int path) {
  std::vector<Case> cases;
  for (const bool reverse : {false, true}) {
    Case c = with_projection(kind, path, 4, 7, 5);
    c.lengths = c.state = true;
    c.reverse = reverse;
    c.in_place = true;
    cases.push_back(c);
    c.batch_major = true;
    cases.push_back(c);
    c.in_place = false;
    for (bool Case::* const left_out : {&Case::y, &Case::c_seq, &Case::c_n, &Case::h_n}) {
      cases.push_back(c);
      cases.back().*left_out = false;
    }
    cases.push_back(c);
    cases.back().y = cases.back().c_seq = cases.back().h_n = false;
  }
  return cases;
}

#ifdef LSTMCORE_CUDA_EMULATED  // a GPU would take its time to fill
// After a call of one step, which has folded and packed the weights, there is memory for x W of three more at
// most, and not for that of all steps: which runs in chunks.
void leave_little_memory(lstmcore_cuda_layer* layer, const lstmcore_cuda_forward& args) {
  emulator_limit_memory(0);
  lstmcore_cuda_forward one = args;
  one.steps = 1;
  one.lengths = nullptr;
  expect(api->forward(layer, &one, error) == 0, "one step");
  const std::int64_t H = args.c_seq.row_stride;
  emulator_limit_memory(emulator_allocated() + std::size_t(3 * args.batch * 4 * H * 4));
}

void check_chunks(Kind kind, int path) {
  for (const bool reverse : {false, true}) {
    lstmcore_cuda_context* context = nullptr;
    expect(api->create_context(0, std::getenv("LSTMCORE_CUBLAS"), &context, error) == 0, "context");
    Case c = with_projection(kind, path, 9, 5, 30);
    c.lengths = c.state = c.peepholes = true;
    c.reverse = reverse;
    c.before = leave_little_memory;
    check_case(c, context);
    emulator_limit_memory(0);
    api->destroy_context(context);
  }
}
#else
void check_chunks(Kind, int) {}
#endif

void tests(lstmcore_cuda_context* context) {
  for (const Kind& kind : kKinds)
    for (const int path : kPaths) {
      for (const Case& c : cases_of(kind, path)) check_case(c, context);
      if (kind.dtype == LSTMCORE_CUDA_FLOAT16) continue;  // as bfloat16
      for (const Case& c : outputs_of(kind, path)) check_case(c, context);
      check_chunks(kind, path);
    }
}

}  // namespace

int main() { return run_tests(tests); }
