// Num<V> is what the maths in activations.h and gates.h needs of a number type V beyond + - * / < and ?:.
// Here: float and double, for the CPU's scalars and for CUDA. src/cpu/simd.h adds the vectors.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define LSTMCORE_INLINE static __host__ __device__ __forceinline__
#else
#define LSTMCORE_INLINE static inline __attribute__((always_inline))
#endif

namespace lstmcore {
namespace {

template <class V>
struct Num;

// I is unsigned: shifting n into the exponent is then defined for negative n too.
template <class T, class I>
struct ScalarNum {
  using Scalar = T;
  using Int = I;
  LSTMCORE_INLINE T set(T s) { return s; }
  LSTMCORE_INLINE I set_int(I s) { return s; }
  LSTMCORE_INLINE I bits(T v) {
    I b;
    std::memcpy(&b, &v, sizeof b);
    return b;
  }
  LSTMCORE_INLINE T from_bits(I b) {
    T v;
    std::memcpy(&v, &b, sizeof v);
    return v;
  }
};

template <>
struct Num<float> : ScalarNum<float, std::uint32_t> {
  LSTMCORE_INLINE float fma(float a, float b, float c) { return std::fma(a, b, c); }
};

template <>
struct Num<double> : ScalarNum<double, std::uint64_t> {
  LSTMCORE_INLINE double fma(double a, double b, double c) { return std::fma(a, b, c); }
};

}  // namespace
}  // namespace lstmcore
