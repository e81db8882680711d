// The functions of cuBLASLt that cuda/cublas.cpp resolves, as a library of their own that it can load. Sums
// are taken in float64 and rounded once, so that what a test sees is the error of the rest. It is as unkind
// as the real one may be: it takes TensorFloat-32 and sums in changing order where the preferences allow
// them, and refuses arrays that are less aligned than they were said to be.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "cublas_functions.h"
#include "dtypes.h"
#include "state.h"

using namespace lstmcore::cuda;

namespace {

struct Operation {
  int compute, scale_type;
};
struct Layout {
  int type;
  std::uint64_t rows, columns;
  std::int64_t ld, count = 1, offset = 0;

  std::uint64_t hash() const {
    std::uint64_t value = 7;
    for (const auto part :
         {std::uint64_t(type), rows, columns, std::uint64_t(ld), std::uint64_t(count), std::uint64_t(offset)})
      value = value * 1000003 + part;
    return value;
  }
};
struct Preference {
  std::map<int, std::uint64_t> values{{kMaxWorkspace, 0}, {kReductionSchemes, 7}, {kImplementations, ~0ull},
                                      {kAlignmentA, 256}, {kAlignmentB, 256},     {kAlignmentC, 256},
                                      {kAlignmentD, 256}};
};
// What stands in CublasAlgorithm.
struct Algorithm {
  std::uint64_t shapes, alignment, workspace;
  std::int32_t tf32, wavers;
};
static_assert(sizeof(Algorithm) <= sizeof(CublasAlgorithm), "stands in its place");

std::uint64_t shapes_of(const Layout& a, const Layout& b, const Layout& c) {
  return a.hash() * 31 + b.hash() * 17 + c.hash();
}

double to_tf32(double value) {  // to nearest
  const std::uint32_t bits = float_to_bits(float(value));
  return double(bits_to_float((bits + 0xfff + (bits >> 13 & 1)) & 0xffffe000));
}

double read(const void* array, int type, std::int64_t at) {
  switch (type) {
    case kReal32:
      return double(static_cast<const float*>(array)[at]);
    case kReal64:
      return static_cast<const double*>(array)[at];
    case kReal16:
      return double(load(static_cast<const float16*>(array)[at]));
    default:
      return double(load(static_cast<const bfloat16*>(array)[at]));
  }
}

template <class T>
int destroy(void* object) {
  delete static_cast<T*>(object);
  return kCublasSuccess;
}

int failed(const char* function) {
  int status = kCublasSuccess;
  emulator::fails(function, &status);
  return status;
}

bool fits(const Layout& a, const Layout& b, const Layout& c) {
  return a.columns == b.rows && a.rows == c.rows && b.columns == c.columns && a.count == c.count &&
         b.count == c.count && a.ld >= std::int64_t(a.rows) && b.ld >= std::int64_t(b.rows) &&
         c.ld >= std::int64_t(c.rows) && a.type == b.type;
}

void multiply(const Algorithm& algorithm, double alpha, const void* A, const Layout& a, const void* B,
              const Layout& b, double beta, void* C, const Layout& c) {
  static int calls = 0;
  const double waver = algorithm.wavers ? 1 + 1e-6 * (++calls % 3) : 1;
  const auto factor = [&](const void* array, int type, std::int64_t at) {
    const double value = read(array, type, at);
    return algorithm.tf32 ? to_tf32(value) : value;
  };
  for (std::int64_t batch = 0; batch < c.count; ++batch)
    for (std::int64_t column = 0; column < std::int64_t(c.columns); ++column)
      for (std::int64_t row = 0; row < std::int64_t(c.rows); ++row) {
        double sum = 0;
        for (std::int64_t p = 0; p < std::int64_t(a.columns); ++p)
          sum += factor(A, a.type, batch * a.offset + p * a.ld + row) *
                 factor(B, b.type, batch * b.offset + column * b.ld + p);
        const std::int64_t at = batch * c.offset + column * c.ld + row;
        sum = alpha * sum * waver + (beta == 0 ? 0 : beta * read(C, c.type, at));
        if (c.type == kReal64)
          static_cast<double*>(C)[at] = sum;
        else
          static_cast<float*>(C)[at] = float(sum);
      }
}

}  // namespace

#define LSTMCORE_EXPORT extern "C" __attribute__((visibility("default")))

LSTMCORE_EXPORT std::size_t cublasLtGetVersion() {
  const int status = failed("cublasLtGetVersion");
  return status ? std::size_t(status) : 131000;
}
LSTMCORE_EXPORT int cublasLtCreate(void** handle) {
  if (const int status = failed("cublasLtCreate")) return status;
  *handle = new int;
  return kCublasSuccess;
}
LSTMCORE_EXPORT int cublasLtDestroy(void* handle) { return destroy<int>(handle); }

LSTMCORE_EXPORT int cublasLtMatmulDescCreate(void** operation, int compute, int scale_type) {
  *operation = new Operation{compute, scale_type};
  return kCublasSuccess;
}
LSTMCORE_EXPORT int cublasLtMatmulDescDestroy(void* operation) { return destroy<Operation>(operation); }

LSTMCORE_EXPORT int cublasLtMatrixLayoutCreate(void** layout, int type, std::uint64_t rows,
                                               std::uint64_t columns, std::int64_t ld) {
  if (const int status = failed("cublasLtMatrixLayoutCreate")) return status;
  *layout = new Layout{type, rows, columns, ld};
  return kCublasSuccess;
}
LSTMCORE_EXPORT int cublasLtMatrixLayoutDestroy(void* layout) { return destroy<Layout>(layout); }
LSTMCORE_EXPORT int cublasLtMatrixLayoutSetAttribute(void* layout, int attribute, const void* value,
                                                     std::size_t bytes) {
  auto* to = static_cast<Layout*>(layout);
  if (attribute == kBatchCount && bytes == 4) {
    std::int32_t count;
    std::memcpy(&count, value, 4);
    to->count = count;
    return kCublasSuccess;
  }
  if (attribute != kBatchOffset || bytes != 8) return kCublasInvalidValue;
  std::memcpy(&to->offset, value, 8);
  return kCublasSuccess;
}

LSTMCORE_EXPORT int cublasLtMatmulPreferenceCreate(void** preference) {
  *preference = new Preference;
  return kCublasSuccess;
}
LSTMCORE_EXPORT int cublasLtMatmulPreferenceDestroy(void* preference) {
  return destroy<Preference>(preference);
}
LSTMCORE_EXPORT int cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute, const void* value,
                                                         std::size_t bytes) {
  const bool wide = attribute == kMaxWorkspace || attribute == kImplementations;
  auto& values = static_cast<Preference*>(preference)->values;
  if (!values.count(attribute) || bytes != (wide ? 8 : 4)) return kCublasInvalidValue;
  values[attribute] = 0;
  std::memcpy(&values[attribute], value, bytes);
  return kCublasSuccess;
}

LSTMCORE_EXPORT int cublasLtMatmulAlgoGetHeuristic(void*, void* operation, void* A, void* B, void* C, void* D,
                                                   void* preference, int wanted, CublasHeuristic* results,
                                                   int* found) {
  *found = 0;
  if (const int status = failed("cublasLtMatmulAlgoGetHeuristic")) return status;
  const auto& how = *static_cast<Operation*>(operation);
  const auto &a = *static_cast<Layout*>(A), &b = *static_cast<Layout*>(B), &c = *static_cast<Layout*>(C);
  const auto& prefer = static_cast<Preference*>(preference)->values;
  const bool wide = a.type == kReal64, single = a.type == kReal32;
  if (wanted != 1 || C != D || !fits(a, b, c) || c.type != (wide ? kReal64 : kReal32) ||
      how.scale_type != c.type || (how.compute == kCompute64) != wide)
    return kCublasInvalidValue;
  const bool may_tf32 = (prefer.at(kImplementations) & kInputTf32) != 0;
  Algorithm algorithm{};
  algorithm.shapes = shapes_of(a, b, c);
  algorithm.alignment = std::min(std::min(prefer.at(kAlignmentA), prefer.at(kAlignmentB)),
                                 std::min(prefer.at(kAlignmentC), prefer.at(kAlignmentD)));
  algorithm.workspace = prefer.at(kMaxWorkspace);
  algorithm.tf32 = single && may_tf32;
  algorithm.wavers = (prefer.at(kReductionSchemes) & kReduceInPlace) != 0;
  *results = {};
  std::memcpy(&results->algorithm, &algorithm, sizeof algorithm);
  results->workspace = algorithm.workspace;
  *found = 1;
  return kCublasSuccess;
}

LSTMCORE_EXPORT int cublasLtMatmul(void*, void* operation, const void* alpha, const void* A, void* A_layout,
                                   const void* B, void* B_layout, const void* beta, const void* C,
                                   void* C_layout, void* D, void* D_layout, const CublasAlgorithm* chosen,
                                   void* workspace, std::size_t bytes, cudaStream_t stream) {
  if (const int status = failed("cublasLtMatmul")) return status;
  const Layout a = *static_cast<Layout*>(A_layout), b = *static_cast<Layout*>(B_layout),
               c = *static_cast<Layout*>(C_layout);
  Algorithm algorithm;
  std::memcpy(&algorithm, chosen, sizeof algorithm);
  const auto addresses = reinterpret_cast<std::uintptr_t>(A) | reinterpret_cast<std::uintptr_t>(B) |
                         reinterpret_cast<std::uintptr_t>(C);
  if (C != D || C_layout != D_layout || algorithm.shapes != shapes_of(a, b, c) ||
      addresses % algorithm.alignment || bytes < algorithm.workspace || !workspace ||
      emulator::is_shared(stream, workspace))
    return kCublasInvalidValue;
  const bool wide = static_cast<Operation*>(operation)->scale_type == kReal64;
  const auto scalar = [wide](const void* value) {
    return wide ? *static_cast<const double*>(value) : double(*static_cast<const float*>(value));
  };
  const double times = scalar(alpha), add = scalar(beta);
  const auto work = [=] {
    std::memset(workspace, 0xcd, std::min<std::size_t>(bytes, 4096));  // as it is for the algorithm to use
    multiply(algorithm, times, A, a, B, b, add, D, c);
  };
  return emulator::enqueue_kernel(stream, work) == cudaSuccess ? kCublasSuccess : kCublasExecutionFailed;
}
