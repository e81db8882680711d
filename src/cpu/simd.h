// Vec<T>: one SIMD register of float or double at the ISA level that this translation unit is compiled for.
// The only file with intrinsics. Arithmetic, comparisons and ?: are the compiler's vector extensions; the
// intrinsics are those it has no operator for: fused multiply-add, broadcast, and loads of a part of a
// vector.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "scalar.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace lstmcore {
namespace {

#if defined(__AVX512F__)
constexpr std::size_t vec_bytes = 64;
#elif defined(__AVX2__)
constexpr std::size_t vec_bytes = 32;
#else
constexpr std::size_t vec_bytes = 16;
#endif

template <class T, class I>
struct VecTypes {
  typedef T Vec __attribute__((vector_size(vec_bytes)));
  typedef I Int __attribute__((vector_size(vec_bytes)));
};

using VecF = VecTypes<float, std::int32_t>::Vec;
using VecD = VecTypes<double, std::int64_t>::Vec;
using IntF = VecTypes<float, std::int32_t>::Int;
using IntD = VecTypes<double, std::int64_t>::Int;

template <class T>
struct VecOf;
template <>
struct VecOf<float> {
  using Type = VecF;
};
template <>
struct VecOf<double> {
  using Type = VecD;
};
template <class T>
using Vec = typename VecOf<T>::Type;

template <class T>
constexpr int lanes = static_cast<int>(vec_bytes / sizeof(T));

#if defined(__AVX512F__)
LSTMCORE_INLINE VecF vec_set(float s) { return (VecF)_mm512_set1_ps(s); }
LSTMCORE_INLINE VecD vec_set(double s) { return (VecD)_mm512_set1_pd(s); }
LSTMCORE_INLINE VecF vec_fma(VecF a, VecF b, VecF c) {
  return (VecF)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
LSTMCORE_INLINE VecD vec_fma(VecD a, VecD b, VecD c) {
  return (VecD)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
LSTMCORE_INLINE VecF load_part(const float* p, int n) {
  return (VecF)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
}
LSTMCORE_INLINE VecD load_part(const double* p, int n) {
  return (VecD)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
}
LSTMCORE_INLINE void store_part(float* p, VecF v, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), (__m512)v);
}
LSTMCORE_INLINE void store_part(double* p, VecD v, int n) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), (__m512d)v);
}
#elif defined(__AVX2__)
LSTMCORE_INLINE VecF vec_set(float s) { return (VecF)_mm256_set1_ps(s); }
LSTMCORE_INLINE VecD vec_set(double s) { return (VecD)_mm256_set1_pd(s); }
LSTMCORE_INLINE VecF vec_fma(VecF a, VecF b, VecF c) {
  return (VecF)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
LSTMCORE_INLINE VecD vec_fma(VecD a, VecD b, VecD c) {
  return (VecD)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
LSTMCORE_INLINE __m256i first_lanes(int n, float) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
LSTMCORE_INLINE __m256i first_lanes(int n, double) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
LSTMCORE_INLINE VecF load_part(const float* p, int n) {
  return (VecF)_mm256_maskload_ps(p, first_lanes(n, 0.0f));
}
LSTMCORE_INLINE VecD load_part(const double* p, int n) {
  return (VecD)_mm256_maskload_pd(p, first_lanes(n, 0.0));
}
LSTMCORE_INLINE void store_part(float* p, VecF v, int n) {
  _mm256_maskstore_ps(p, first_lanes(n, 0.0f), (__m256)v);
}
LSTMCORE_INLINE void store_part(double* p, VecD v, int n) {
  _mm256_maskstore_pd(p, first_lanes(n, 0.0), (__m256d)v);
}
#else  // 16-byte levels
#if defined(__x86_64__)
LSTMCORE_INLINE VecF vec_set(float s) { return (VecF)_mm_set1_ps(s); }
LSTMCORE_INLINE VecD vec_set(double s) { return (VecD)_mm_set1_pd(s); }
// x86-64-v2 has no fused multiply-add. Products of floats are exact in double, so their sum is rounded once
// there and once to float, as good as fused; those of doubles are rounded twice (the build forbids
// contraction).
LSTMCORE_INLINE __m128d low_half(VecF v) { return _mm_cvtps_pd((__m128)v); }
LSTMCORE_INLINE __m128d high_half(VecF v) { return _mm_cvtps_pd(_mm_movehl_ps((__m128)v, (__m128)v)); }
LSTMCORE_INLINE VecF from_halves(__m128d low, __m128d high) {
  return (VecF)_mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
}
LSTMCORE_INLINE VecF vec_fma(VecF a, VecF b, VecF c) {
  return from_halves(low_half(a) * low_half(b) + low_half(c), high_half(a) * high_half(b) + high_half(c));
}
LSTMCORE_INLINE VecD vec_fma(VecD a, VecD b, VecD c) { return a * b + c; }
#elif defined(__aarch64__)
LSTMCORE_INLINE VecF vec_set(float s) { return (VecF)vdupq_n_f32(s); }
LSTMCORE_INLINE VecD vec_set(double s) { return (VecD)vdupq_n_f64(s); }
LSTMCORE_INLINE VecF vec_fma(VecF a, VecF b, VecF c) {
  return (VecF)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
LSTMCORE_INLINE VecD vec_fma(VecD a, VecD b, VecD c) {
  return (VecD)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
#else
#error "lstmcore has vector code for x86-64 and aarch64 only"
#endif

template <class T>
LSTMCORE_INLINE Vec<T> load_part(const T* p, int n) {
  Vec<T> v = {};
  for (int lane = 0; lane < n; ++lane) v[lane] = p[lane];
  return v;
}
template <class T, class V>
LSTMCORE_INLINE void store_part(T* p, V v, int n) {
  for (int lane = 0; lane < n; ++lane) p[lane] = v[lane];
}
#endif  // by ISA level

template <class T>
LSTMCORE_INLINE Vec<T> load(const T* p) {
  Vec<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class T, class V>
LSTMCORE_INLINE void store(T* p, V v) {
  std::memcpy(p, &v, sizeof v);
}

// A sum of products.
template <class T>
struct Sum {
  Vec<T> value = {};
};
template <class T>
LSTMCORE_INLINE void add_product(Sum<T>& sum, Vec<T> s, Vec<T> w) {
  sum.value = vec_fma(s, w, sum.value);
}
template <class T>
LSTMCORE_INLINE Vec<T> rounded(const Sum<T>& sum) {
  return sum.value;
}

#if defined(__x86_64__) && !defined(__AVX2__)
// The same for sums: they are kept in double.
template <>
struct Sum<float> {
  __m128d low = {}, high = {};
};
// All lanes of s are equal.
LSTMCORE_INLINE void add_product(Sum<float>& sum, VecF s, VecF w) {
  const __m128d factor = low_half(s);
  sum.low += factor * low_half(w);
  sum.high += factor * high_half(w);
}
LSTMCORE_INLINE VecF rounded(const Sum<float>& sum) { return from_halves(sum.low, sum.high); }
#endif

template <class V, class T, class I, class S>
struct VecNum {
  using Scalar = T;
  using Int = I;
  LSTMCORE_INLINE V set(T s) { return vec_set(s); }
  LSTMCORE_INLINE I set_int(S s) {
    I v = {};
    return v + s;
  }
  LSTMCORE_INLINE I bits(V v) { return (I)v; }
  LSTMCORE_INLINE V from_bits(I b) { return (V)b; }
  LSTMCORE_INLINE V fma(V a, V b, V c) { return vec_fma(a, b, c); }
};

template <>
struct Num<VecF> : VecNum<VecF, float, IntF, std::int32_t> {};
template <>
struct Num<VecD> : VecNum<VecD, double, IntD, std::int64_t> {};

}  // namespace
}  // namespace lstmcore
