// The functions of cuBLASLt that are used, and the values of its headers (cublasLt.h, cublas_api.h and
// library_types.h) that go with them; NVIDIA keeps both from version 12 on.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace lstmcore {
namespace cuda {

constexpr int kOldestCublas = 120000;

enum CublasStatus {
  kCublasSuccess = 0,
  kCublasNotInitialized = 1,
  kCublasAllocFailed = 3,
  kCublasInvalidValue = 7,
  kCublasArchMismatch = 8,
  kCublasExecutionFailed = 13,
  kCublasInternalError = 14,
  kCublasNotSupported = 15
};
enum CublasType { kReal32 = 0, kReal64 = 1, kReal16 = 2, kReal16Brain = 14 };
enum CublasCompute { kCompute32 = 68, kCompute64 = 70, kCompute32Tf32 = 77 };
enum CublasLayoutAttribute { kBatchCount = 5, kBatchOffset = 6 };
enum CublasPreference {
  kMaxWorkspace = 1,
  kReductionSchemes = 3,
  kAlignmentA = 5,
  kAlignmentB = 6,
  kAlignmentC = 7,
  kAlignmentD = 8,
  kImplementations = 12
};
// Of the parts of a sum over K: in place, or through the workspace in the type of the sum.
enum CublasReduction : std::uint32_t { kReduceInPlace = 1, kReduceInWorkspace = 2 };
// What an algorithm multiplies with: bits of a mask.
enum CublasImplementation : std::uint64_t {
  kTensorCores = 0xfe,
  kInput16 = 0x01ull << 16,
  kInput16Brain = 0x02ull << 16,
  kInputTf32 = 0x04ull << 16
};

struct CublasAlgorithm {
  std::uint64_t data[8];
};
struct CublasHeuristic {
  CublasAlgorithm algorithm;
  std::size_t workspace;
  int state;
  float waves;
  int reserved[4];
};
static_assert(sizeof(CublasHeuristic) == 96, "as cublasLtMatmulHeuristicResult_t");

struct CublasLt {
  std::size_t (*version)();
  int (*create)(void** handle);
  int (*destroy)(void* handle);
  int (*create_operation)(void** operation, int compute, int scale_type);
  int (*destroy_operation)(void* operation);
  int (*create_layout)(void** layout, int type, std::uint64_t rows, std::uint64_t columns, std::int64_t ld);
  int (*destroy_layout)(void* layout);
  int (*set_layout)(void* layout, int attribute, const void* value, std::size_t bytes);
  int (*create_preference)(void** preference);
  int (*destroy_preference)(void* preference);
  int (*set_preference)(void* preference, int attribute, const void* value, std::size_t bytes);
  int (*find)(void* handle, void* operation, void* A, void* B, void* C, void* D, void* preference, int wanted,
              CublasHeuristic* results, int* found);
  int (*multiply)(void* handle, void* operation, const void* alpha, const void* A, void* A_layout,
                  const void* B, void* B_layout, const void* beta, const void* C, void* C_layout, void* D,
                  void* D_layout, const CublasAlgorithm* algorithm, void* workspace, std::size_t bytes,
                  cudaStream_t stream);
};

}  // namespace cuda
}  // namespace lstmcore
