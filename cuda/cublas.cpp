#include "cublas.h"

#include <dlfcn.h>

#include <string>

#include "status.h"

namespace lstmcore {
namespace cuda {
namespace {

// The values of cublas_api.h and library_types.h that are used here; NVIDIA keeps them within a major
// version.
constexpr int kSuccess = 0, kNotInitialized = 1, kAllocFailed = 3;
constexpr int kNoTranspose = 0;
constexpr int kReal32 = 0, kReal64 = 1, kReal16 = 2, kReal16Brain = 14;
constexpr int kCompute32 = 68, kCompute64 = 70, kCompute32Tf32 = 77;
constexpr int kDefaultAlgorithm = -1;
constexpr int kOldest = 110300;  // 11.3: bfloat16 products into float32

constexpr const char* kNames[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so"};

void* open_library(const char* file) {
  if (file) {
    if (void* library = dlopen(file, RTLD_NOW | RTLD_LOCAL)) return library;
    throw Error(LSTMCORE_CUDA_UNAVAILABLE, std::string("cuBLAS cannot be loaded: ") + dlerror());
  }
  for (const int mode : {RTLD_NOW | RTLD_NOLOAD, RTLD_NOW})
    for (const char* name : kNames)
      if (void* library = dlopen(name, mode)) return library;
  throw Error(
      LSTMCORE_CUDA_UNAVAILABLE,
      "cuBLAS was not found: install the package nvidia-cublas, or name libcublas.so in LSTMCORE_CUBLAS");
}

const char* status_text(int status) {
  switch (status) {
    case kNotInitialized:
      return "not initialized (is there a working GPU?)";
    case kAllocFailed:
      return "out of memory";
    case 7:
      return "invalid value";
    case 8:
      return "not for this architecture";
    case 13:
      return "execution failed";
    case 15:
      return "not supported";
    default:
      return "failed";
  }
}

void check_cublas(int status, const char* call) {
  if (status == kSuccess) return;
  throw Error(
      status == kAllocFailed ? LSTMCORE_CUDA_OUT_OF_MEMORY : LSTMCORE_CUDA_FAILED,
      std::string(call) + ": " + status_text(status) + " (cuBLAS status " + std::to_string(status) + ")");
}

template <class F>
void resolve(void* library, const char* name, F*& function) {
  function = reinterpret_cast<F*>(dlsym(library, name));
  if (!function)
    throw Error(LSTMCORE_CUDA_UNAVAILABLE,
                std::string("cuBLAS has no ") + name + "; it must be 11.3 or newer");
}

int data_type(int dtype) {
  switch (dtype) {
    case LSTMCORE_CUDA_FLOAT32:
      return kReal32;
    case LSTMCORE_CUDA_FLOAT64:
      return kReal64;
    case LSTMCORE_CUDA_FLOAT16:
      return kReal16;
    default:
      return kReal16Brain;
  }
}

}  // namespace

struct Cublas::Functions {
  int (*create)(void**);
  int (*destroy)(void*);
  int (*version)(void*, int*);
  int (*set_stream)(void*, cudaStream_t);
  int (*set_workspace)(void*, void*, std::size_t);
  int (*gemm)(void*, int, int, int, int, int, const void*, const void*, int, int, long long, const void*, int,
              int, long long, const void*, void*, int, int, long long, int, int, int);
};

Cublas::Cublas(const char* file) {
  void* library = open_library(file);  // never closed: others may have it too
  auto functions = std::make_unique<Functions>();
  resolve(library, "cublasCreate_v2", functions->create);
  resolve(library, "cublasDestroy_v2", functions->destroy);
  resolve(library, "cublasGetVersion_v2", functions->version);
  resolve(library, "cublasSetStream_v2", functions->set_stream);
  resolve(library, "cublasSetWorkspace_v2", functions->set_workspace);
  resolve(library, "cublasGemmStridedBatchedEx", functions->gemm);
  int version = 0;
  check_cublas(functions->create(&handle_), "cublasCreate");
  functions->version(handle_, &version);
  if (version < kOldest) {
    functions->destroy(handle_);
    throw Error(LSTMCORE_CUDA_UNAVAILABLE,
                "cuBLAS must be 11.3 or newer, found version " + std::to_string(version));
  }
  functions_ = std::move(functions);
}

Cublas::~Cublas() { functions_->destroy(handle_); }

void Cublas::use(cudaStream_t stream, void* workspace, std::size_t bytes) {
  check_cublas(functions_->set_stream(handle_, stream), "cublasSetStream");
  // After the stream: to set a stream puts the library's own workspace back.
  check_cublas(functions_->set_workspace(handle_, workspace, bytes), "cublasSetWorkspace");
}

void Cublas::multiply(const Gemm& gemm, int dtype, bool tf32) {
  const bool wide = dtype == LSTMCORE_CUDA_FLOAT64;
  const float one32 = 1, beta32 = gemm.add ? 1 : 0;
  const double one64 = 1, beta64 = gemm.add ? 1 : 0;
  const void* alpha = wide ? static_cast<const void*>(&one64) : &one32;
  const void* beta = wide ? static_cast<const void*>(&beta64) : &beta32;
  const int type = data_type(dtype), result = wide ? kReal64 : kReal32;
  const int compute = wide                                     ? kCompute64
                      : tf32 && dtype == LSTMCORE_CUDA_FLOAT32 ? kCompute32Tf32
                                                               : kCompute32;
  // cuBLAS is column-major: C' = B' A'.
  check_cublas(functions_->gemm(handle_, kNoTranspose, kNoTranspose, int(gemm.N), int(gemm.M), int(gemm.K),
                                alpha, gemm.B, type, int(gemm.ldb), 0, gemm.A, type, int(gemm.lda),
                                gemm.stride_a, beta, gemm.C, result, int(gemm.ldc), gemm.stride_c,
                                int(gemm.count), compute, kDefaultAlgorithm),
               "cublasGemmStridedBatchedEx");
}

}  // namespace cuda
}  // namespace lstmcore
