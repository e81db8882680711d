// The functions of cuBLAS that cuda/cublas.cpp resolves, as a library of their own that it can load. Sums are
// taken in float64 and rounded once, so that what a test sees is the error of the rest.
#include <cuda_runtime.h>

#include <vector>

#include "dtypes.h"
#include "faults.h"

using namespace lstmcore::cuda;

namespace {

struct Handle {
  cudaStream_t stream = nullptr;
};

// Types as in library_types.h.
double read(const void* array, int type, std::int64_t at) {
  switch (type) {
    case 0:
      return static_cast<const float*>(array)[at];
    case 1:
      return static_cast<const double*>(array)[at];
    case 2:
      return load(static_cast<const float16*>(array)[at]);
    default:
      return load(static_cast<const bfloat16*>(array)[at]);
  }
}

}  // namespace

static int reported_version = 130000;
void emulator_cublas_version(int version) { reported_version = version; }

#define LSTMCORE_EXPORT extern "C" __attribute__((visibility("default")))

LSTMCORE_EXPORT int cublasCreate_v2(void** handle) {
  *handle = new Handle;
  return 0;
}
LSTMCORE_EXPORT int cublasDestroy_v2(void* handle) {
  delete static_cast<Handle*>(handle);
  return 0;
}
LSTMCORE_EXPORT int cublasGetVersion_v2(void*, int* version) {
  *version = reported_version;
  return 0;
}
LSTMCORE_EXPORT int cublasSetStream_v2(void* handle, cudaStream_t stream) {
  static_cast<Handle*>(handle)->stream = stream;
  return 0;
}
LSTMCORE_EXPORT int cublasSetWorkspace_v2(void*, void* workspace, std::size_t) { return workspace ? 0 : 7; }

LSTMCORE_EXPORT int cublasGemmStridedBatchedEx(void* handle, int, int, int m, int n, int k, const void* alpha,
                                               const void* A, int a_type, int lda, long long stride_a,
                                               const void* B, int b_type, int ldb, long long stride_b,
                                               const void* beta, void* C, int c_type, int ldc,
                                               long long stride_c, int count, int compute, int) {
  if (m < 0 || n < 0 || k < 0 || lda < m || ldb < k || ldc < m) return 7;
  const bool wide = compute == 70;
  const double scale = wide ? *static_cast<const double*>(alpha) : double(*static_cast<const float*>(alpha));
  const double add = wide ? *static_cast<const double*>(beta) : double(*static_cast<const float*>(beta));
  const auto multiply = [=] {
    for (std::int64_t batch = 0; batch < count; ++batch)
      for (std::int64_t column = 0; column < n; ++column)
        for (std::int64_t row = 0; row < m; ++row) {
          double sum = 0;
          for (std::int64_t p = 0; p < k; ++p)
            sum += read(A, a_type, batch * stride_a + p * lda + row) *
                   read(B, b_type, batch * stride_b + column * ldb + p);
          const std::int64_t at = batch * stride_c + column * ldc + row;
          sum = scale * sum + (add == 0 ? 0 : add * read(C, c_type, at));
          if (c_type == 1)
            static_cast<double*>(C)[at] = sum;
          else
            static_cast<float*>(C)[at] = float(sum);
        }
  };
  return emulator::enqueue(static_cast<Handle*>(handle)->stream, multiply) == cudaSuccess ? 0 : 13;
}
