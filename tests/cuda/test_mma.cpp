// The persistent kernel of tensor cores through the C interface, on the emulator or a GPU, against the CPU
// kernels in float64. Every operand type, path, tiling and size of a group; units and rows that fill no tile.
#include "harness.h"

using namespace lstmcore;
using namespace lstmcore::cuda;

namespace {

struct Kind {
  int dtype, math;
};
constexpr Kind kKinds[] = {{LSTMCORE_CUDA_FLOAT16, LSTMCORE_CUDA_IEEE},
                           {LSTMCORE_CUDA_BFLOAT16, LSTMCORE_CUDA_IEEE},
                           {LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_TF32},
                           {LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_TF32X3}};

Case mma_case(Kind kind, int path, std::int64_t T, std::int64_t N, std::int64_t H, int rows) {
  Case c{T, N, 5, H, 0, kind.dtype, path};
  c.math = kind.math;
  c.kernel = LSTMCORE_CUDA_KERNEL_MMA;
  c.rows = rows;
  return c;
}

std::vector<Case> cases_of(Kind kind) {
  std::vector<Case> cases;
  const auto add = [&](std::int64_t T, std::int64_t N, std::int64_t H, int rows, int path) {
    cases.push_back(mma_case(kind, path, T, N, H, rows));
  };
  const auto add_variants = [&](std::int64_t T, std::int64_t N, std::int64_t H, int rows, int path) {
    for (const Case& c : variants(mma_case(kind, path, T, N, H, rows))) cases.push_back(c);
  };
  for (const int path : {LSTMCORE_CUDA_BLOCK, LSTMCORE_CUDA_CLUSTER, LSTMCORE_CUDA_GRID}) {
    const bool one = path == LSTMCORE_CUDA_BLOCK;
    add_variants(4, 11, one ? 23 : 43, 8, path);
    add_variants(3, 21, one ? 7 : 26, 16, path);
    add(5, 33, one ? 64 : 65, 32, path);
    add(3, 1, one ? 1 : 9, 8, path);
    add(1, 9, one ? 17 : 33, 8, path);  // no exchange at all
  }
  add(300, 2, 5, 8, LSTMCORE_CUDA_BLOCK);
  // One block that holds more than 64 units, up to the most that there is room for.
  const bool wide = kind.dtype == LSTMCORE_CUDA_FLOAT32;
  add_variants(3, 9, 65, 8, LSTMCORE_CUDA_BLOCK);
  add_variants(2, 18, 97, 16, LSTMCORE_CUDA_BLOCK);
  add(2, 33, wide ? 105 : 129, 32, LSTMCORE_CUDA_BLOCK);
  add(2, 5, 128, 8, LSTMCORE_CUDA_BLOCK);
  add(2, 3, wide ? 144 : 192, 8, LSTMCORE_CUDA_BLOCK);
  add(2, 17, wide ? 127 : 167, 16, LSTMCORE_CUDA_BLOCK);
  return cases;
}

void tests(lstmcore_cuda_context* context) {
  for (const Kind& kind : kKinds)
    for (const Case& c : cases_of(kind)) check_case(c, context);
  // Weights in shared memory too.
  check_case(mma_case(kKinds[3], LSTMCORE_CUDA_CLUSTER, 3, 9, 420, 16), context);
  check_case(mma_case(kKinds[1], LSTMCORE_CUDA_GRID, 3, 7, 620, 8), context);
}

}  // namespace

int main() { return run_tests(tests); }
