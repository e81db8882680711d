// cuBLAS, found at run time: the library neither links it nor brings it along.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>

namespace lstmcore {
namespace cuda {

// C = A B, or C += A B. Row-major: A [M, K], B [K, N], C [M, N] with these distances between rows, `count`
// times, with these distances between the arrays of A and of C.
struct Gemm {
  std::int64_t M, N, K;
  const void* A;
  std::int64_t lda;
  const void* B;
  std::int64_t ldb;
  void* C;
  std::int64_t ldc;
  bool add = false;
  std::int64_t count = 1, stride_a = 0, stride_c = 0;
};

// A handle on the current device. Throws Error: UNAVAILABLE where there is no library or an old one.
class Cublas {
 public:
  // `file`: the library, or null for one that is loaded already or that the loader finds.
  explicit Cublas(const char* file);
  ~Cublas();
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;

  // Later products are enqueued on `stream` and use this workspace alone, so that repeated runs give the same
  // bits.
  void use(cudaStream_t stream, void* workspace, std::size_t bytes);
  // A and B of `dtype` (lstmcore_cuda_dtype), C float32, or float64 with float64.
  void multiply(const Gemm& gemm, int dtype, bool tf32);

 private:
  struct Functions;
  std::unique_ptr<const Functions> functions_;
  void* handle_ = nullptr;
};

}  // namespace cuda
}  // namespace lstmcore
