// Matrix products of the layers: by cuBLASLt where there is one, else by a kernel of our own.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>

#include "lstmcore/cuda_abi.h"

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

// Enqueues one kernel: any sizes, sums in one fixed order, without tensor cores. A and B of S, C of its
// accumulator. Throws Error.
template <class S>
void plain_gemm(const Gemm& gemm, cudaStream_t stream);

class Cublas;

// The products of a context, on the current device.
class Products {
 public:
  // `cublas`: the library to load; null: one that is loaded already or that the loader finds, and none if
  // there is none; "none": none. Throws Error: UNAVAILABLE where the library that was named or found is not
  // to be used.
  explicit Products(const char* cublas);
  ~Products();

  // A and B of the spec's dtype, C float32, or float64 with float64, in its arithmetic: TensorFloat-32 only
  // where cuBLAS multiplies. The same product gives the same bits each time. Throws Error.
  void multiply(const Gemm& gemm, const lstmcore_cuda_spec& spec, cudaStream_t stream);

  // Scratch memory of the products from now on, so many bytes at an address that 256 divides; null: their
  // own.
  void use_workspace(void* memory);
  std::size_t workspace_bytes() const;

  // Of cuBLAS, as 10000 major + 100 minor + patch; 0 without it.
  int cublas_version() const;

 private:
  std::unique_ptr<Cublas> cublas_;
};

}  // namespace cuda
}  // namespace lstmcore
