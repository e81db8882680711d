#include "cublas.h"

#include <dlfcn.h>

#include <algorithm>
#include <string>

#include "cublas_functions.h"

namespace lstmcore {
namespace cuda {
namespace {

constexpr std::size_t kWorkspace = std::size_t{32} << 20;  // what NVIDIA advises for Hopper
constexpr std::size_t kPlans = 64;
// Claimed of the arrays at most, so that arrays which are better aligned get the same algorithm.
constexpr std::uint32_t kAlignment = 16;

constexpr const char* kNames[] = {"libcublasLt.so.13", "libcublasLt.so.12"};

// Null where `file` is null and there is none.
void* open_library(const char* file) {
  if (file) {
    if (void* library = dlopen(file, RTLD_NOW | RTLD_LOCAL)) return library;
    throw Error(LSTMCORE_CUDA_UNAVAILABLE, std::string("cuBLAS cannot be loaded: ") + dlerror());
  }
  for (const int mode : {RTLD_NOW | RTLD_NOLOAD, RTLD_NOW})
    for (const char* name : kNames)
      if (void* library = dlopen(name, mode)) return library;
  return nullptr;
}

template <class F>
void resolve(void* library, const char* name, F*& function) {
  function = reinterpret_cast<F*>(dlsym(library, name));
  if (!function)
    throw Error(LSTMCORE_CUDA_UNAVAILABLE, std::string("cuBLAS is too old or not whole: it has no ") + name +
                                               "; 12.0 or newer is needed");
}

std::unique_ptr<const CublasLt> resolve_all(void* library) {
  auto lt = std::make_unique<CublasLt>();
  resolve(library, "cublasLtGetVersion", lt->version);
  resolve(library, "cublasLtCreate", lt->create);
  resolve(library, "cublasLtDestroy", lt->destroy);
  resolve(library, "cublasLtMatmulDescCreate", lt->create_operation);
  resolve(library, "cublasLtMatmulDescDestroy", lt->destroy_operation);
  resolve(library, "cublasLtMatrixLayoutCreate", lt->create_layout);
  resolve(library, "cublasLtMatrixLayoutDestroy", lt->destroy_layout);
  resolve(library, "cublasLtMatrixLayoutSetAttribute", lt->set_layout);
  resolve(library, "cublasLtMatmulPreferenceCreate", lt->create_preference);
  resolve(library, "cublasLtMatmulPreferenceDestroy", lt->destroy_preference);
  resolve(library, "cublasLtMatmulPreferenceSetAttribute", lt->set_preference);
  resolve(library, "cublasLtMatmulAlgoGetHeuristic", lt->find);
  resolve(library, "cublasLtMatmul", lt->multiply);
  return lt;
}

CublasType data_type(int dtype) {
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

std::uint32_t alignment_of(const Gemm& gemm) {
  const auto all = reinterpret_cast<std::uintptr_t>(gemm.A) | reinterpret_cast<std::uintptr_t>(gemm.B) |
                   reinterpret_cast<std::uintptr_t>(gemm.C) | kAlignment;
  return std::uint32_t(all & (~all + 1));  // the lowest bit
}

// What one of cuBLAS's functions has created.
using Owned = std::unique_ptr<void, int (*)(void*)>;

template <class Create, class... Arguments>
Owned create(const char* call, Create function, int (*destroy)(void*), Arguments... arguments) {
  void* created = nullptr;
  check_cublas(function(&created, arguments...), call);
  return Owned(created, destroy);
}

}  // namespace

struct Cublas::Plan {
  Owned operation, A, B, C;
  CublasAlgorithm algorithm{};
  bool found = false;
};

std::unique_ptr<Cublas> Cublas::open(const char* file) {
  if (file && std::string(file) == "none") return nullptr;
  void* library = open_library(file);  // never closed: others may have it too
  return library ? std::unique_ptr<Cublas>(new Cublas(library)) : nullptr;
}

Cublas::Cublas(void* library) : lt_(resolve_all(library)), version_(int(lt_->version())) {
  if (version_ < kOldestCublas)
    throw Error(LSTMCORE_CUDA_UNAVAILABLE, "cuBLAS is too old: 12.0 or newer is needed, found " +
                                               std::to_string(version_ / 10000) + "." +
                                               std::to_string(version_ / 100 % 100));
  own_workspace_ = DeviceMemory(kWorkspace);
  use_workspace(nullptr);
  handle_ = create("cublasLtCreate", lt_->create, lt_->destroy);
}

Cublas::~Cublas() = default;

bool Cublas::multiply(const Gemm& gemm, int dtype, bool tf32, cudaStream_t stream) {
  const Plan& found = plan(gemm, dtype, tf32);
  if (!found.found) return false;
  const float one32 = 1, beta32 = gemm.add ? 1 : 0;
  const double one64 = 1, beta64 = gemm.add ? 1 : 0;
  const bool wide = dtype == LSTMCORE_CUDA_FLOAT64;
  const void* alpha = wide ? static_cast<const void*>(&one64) : &one32;
  const void* beta = wide ? static_cast<const void*>(&beta64) : &beta32;
  check_cublas(lt_->multiply(handle_.get(), found.operation.get(), alpha, gemm.B, found.A.get(), gemm.A,
                             found.B.get(), beta, gemm.C, found.C.get(), gemm.C, found.C.get(),
                             &found.algorithm, workspace_, workspace_bytes(), stream),
               "cublasLtMatmul");
  return true;
}

const Cublas::Plan& Cublas::plan(const Gemm& gemm, int dtype, bool tf32) {
  const std::uint32_t alignment = alignment_of(gemm);
  const Key key{gemm.M,     gemm.N,        gemm.K,        gemm.lda, gemm.ldb, gemm.ldc,
                gemm.count, gemm.stride_a, gemm.stride_c, dtype,    tf32,     alignment};
  const auto entry =
      std::find_if(plans_.begin(), plans_.end(), [&](const auto& plan) { return plan.first == key; });
  if (entry != plans_.end()) {
    plans_.splice(plans_.begin(), plans_, entry);
  } else {
    plans_.emplace_front(key, make_plan(gemm, dtype, tf32, alignment));
    if (plans_.size() > kPlans) plans_.pop_back();
  }
  return *plans_.front().second;
}

// Always the first algorithm that the heuristics name. It must not add parts of a sum in place, whose order
// could change from run to run, and with float32 as such it may use no tensor cores and no narrower inputs.
std::unique_ptr<Cublas::Plan> Cublas::make_plan(const Gemm& gemm, int dtype, bool tf32,
                                                std::uint32_t alignment) const {
  const bool wide = dtype == LSTMCORE_CUDA_FLOAT64, single = dtype == LSTMCORE_CUDA_FLOAT32;
  const int type = data_type(dtype), result = wide ? kReal64 : kReal32;
  const int compute = wide ? kCompute64 : single && tf32 ? kCompute32Tf32 : kCompute32;
  const auto layout = [&](int kind, std::int64_t rows, std::int64_t columns, std::int64_t ld,
                          std::int64_t stride) {
    Owned owned = create("cublasLtMatrixLayoutCreate", lt_->create_layout, lt_->destroy_layout, kind,
                         std::uint64_t(rows), std::uint64_t(columns), ld);
    const auto count = std::int32_t(gemm.count);
    check_cublas(lt_->set_layout(owned.get(), kBatchCount, &count, sizeof count),
                 "cublasLtMatrixLayoutSetAttribute");
    check_cublas(lt_->set_layout(owned.get(), kBatchOffset, &stride, sizeof stride),
                 "cublasLtMatrixLayoutSetAttribute");
    return owned;
  };
  // cuBLAS is column-major: C' = B' A'.
  std::unique_ptr<Plan> plan(new Plan{
      create("cublasLtMatmulDescCreate", lt_->create_operation, lt_->destroy_operation, compute, result),
      layout(type, gemm.N, gemm.K, gemm.ldb, 0), layout(type, gemm.K, gemm.M, gemm.lda, gemm.stride_a),
      layout(result, gemm.N, gemm.M, gemm.ldc, gemm.stride_c)});

  const Owned preference =
      create("cublasLtMatmulPreferenceCreate", lt_->create_preference, lt_->destroy_preference);
  const auto prefer = [&](int attribute, auto value) {
    check_cublas(lt_->set_preference(preference.get(), attribute, &value, sizeof value),
                 "cublasLtMatmulPreferenceSetAttribute");
  };
  prefer(kMaxWorkspace, workspace_bytes());
  prefer(kReductionSchemes, std::uint32_t(kReduceInWorkspace));
  for (const int array : {kAlignmentA, kAlignmentB, kAlignmentC, kAlignmentD}) prefer(array, alignment);
  if (single && !tf32)
    prefer(kImplementations, ~std::uint64_t(kTensorCores | kInput16 | kInput16Brain | kInputTf32));

  CublasHeuristic heuristic{};
  int found = 0;
  const int status = lt_->find(handle_.get(), plan->operation.get(), plan->A.get(), plan->B.get(),
                               plan->C.get(), plan->C.get(), preference.get(), 1, &heuristic, &found);
  if (status != kCublasNotSupported) check_cublas(status, "cublasLtMatmulAlgoGetHeuristic");
  plan->found = status == kCublasSuccess && found > 0 && heuristic.state == kCublasSuccess;
  plan->algorithm = heuristic.algorithm;
  return plan;
}

}  // namespace cuda
}  // namespace lstmcore
