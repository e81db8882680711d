// cuBLASLt, found at run time: the library neither links it nor brings it along.
#pragma once

#include <array>
#include <list>
#include <memory>

#include "gemm.h"
#include "status.h"

namespace lstmcore {
namespace cuda {

struct CublasLt;  // its functions

class Cublas {
 public:
  // Null where there is none; see Products.
  static std::unique_ptr<Cublas> open(const char* file);
  ~Cublas();

  // False where cuBLAS has no algorithm for it, and nothing is enqueued. Throws Error.
  bool multiply(const Gemm& gemm, int dtype, bool tf32, cudaStream_t stream);
  int version() const { return version_; }
  // As of Products.
  void use_workspace(void* memory) { workspace_ = memory ? memory : own_workspace_.as<void>(); }
  std::size_t workspace_bytes() const { return own_workspace_.bytes(); }

 private:
  // What an algorithm depends on: sizes, distances between rows and arrays, type, math, alignment.
  using Key = std::array<std::int64_t, 12>;
  struct Plan;

  explicit Cublas(void* library);
  const Plan& plan(const Gemm& gemm, int dtype, bool tf32);
  std::unique_ptr<Plan> make_plan(const Gemm& gemm, int dtype, bool tf32, std::uint32_t alignment) const;

  std::unique_ptr<const CublasLt> lt_;
  int version_ = 0;
  DeviceMemory own_workspace_;
  void* workspace_ = nullptr;
  std::unique_ptr<void, int (*)(void*)> handle_{nullptr, nullptr};
  std::list<std::pair<Key, std::unique_ptr<Plan>>> plans_;  // the latest first
};

}  // namespace cuda
}  // namespace lstmcore
