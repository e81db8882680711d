#include "cublas.h"
#include "dtypes.h"
#include "gemm.h"

namespace lstmcore {
namespace cuda {

Products::Products(const char* cublas) : cublas_(Cublas::open(cublas)) {}
Products::~Products() = default;

void Products::use_workspace(void* memory) {
  if (cublas_) cublas_->use_workspace(memory);
}
std::size_t Products::workspace_bytes() const { return cublas_ ? cublas_->workspace_bytes() : 0; }

int Products::cublas_version() const { return cublas_ ? cublas_->version() : 0; }

void Products::multiply(const Gemm& gemm, const lstmcore_cuda_spec& spec, cudaStream_t stream) {
  if (!gemm.M || !gemm.N || !gemm.count) return;
  if (cublas_ && cublas_->multiply(gemm, spec.dtype, spec.math == LSTMCORE_CUDA_TF32, stream)) return;
  switch (spec.dtype) {
    case LSTMCORE_CUDA_FLOAT32:
      return plain_gemm<float>(gemm, stream);
    case LSTMCORE_CUDA_FLOAT64:
      return plain_gemm<double>(gemm, stream);
    case LSTMCORE_CUDA_FLOAT16:
      return plain_gemm<float16>(gemm, stream);
    default:
      return plain_gemm<bfloat16>(gemm, stream);
  }
}

}  // namespace cuda
}  // namespace lstmcore
