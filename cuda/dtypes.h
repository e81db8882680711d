// The number types that weights, inputs and outputs have on the device, for host and device code alike.
// Arithmetic is done in Accumulator<S>; S only stores.
#pragma once

#include <cstdint>
#include <cstring>

#include "scalar.h"

namespace lstmcore {
namespace cuda {

struct float16 {
  std::uint16_t bits;
};
struct bfloat16 {
  std::uint16_t bits;
};

template <class S>
struct AccumulatorOf {
  using type = float;
};
template <>
struct AccumulatorOf<double> {
  using type = double;
};
template <class S>
using Accumulator = typename AccumulatorOf<S>::type;

LSTMCORE_INLINE float bits_to_float(std::uint32_t bits) { return Num<float>::from_bits(bits); }
LSTMCORE_INLINE std::uint32_t float_to_bits(float value) { return Num<float>::bits(value); }

LSTMCORE_INLINE float load(float value) { return value; }
LSTMCORE_INLINE double load(double value) { return value; }
LSTMCORE_INLINE float load(bfloat16 value) { return bits_to_float(std::uint32_t(value.bits) << 16); }

LSTMCORE_INLINE float load(float16 value) {
#ifdef __CUDA_ARCH__
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
#else
  const std::uint32_t sign = std::uint32_t(value.bits & 0x8000) << 16;
  const std::uint32_t magnitude = value.bits & 0x7fff;
  if (magnitude >= 0x7c00) return bits_to_float(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  // The exponent's bias moves by a product with 2^112, which is exact for subnormal numbers too.
  return bits_to_float(sign | float_to_bits(bits_to_float(magnitude << 13) * 0x1p112f));
#endif
}

// Rounds to nearest, ties to even; a NaN stays one. The second argument only says the type.
LSTMCORE_INLINE float narrow(float value, float) { return value; }
LSTMCORE_INLINE double narrow(double value, double) { return value; }

LSTMCORE_INLINE bfloat16 narrow(float value, bfloat16) {
  const std::uint32_t bits = float_to_bits(value);
  if (value != value) return {0x7fff};
  return {std::uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

LSTMCORE_INLINE float16 narrow(float value, float16) {
#ifdef __CUDA_ARCH__
  float16 result;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
  return result;
#else
  const std::uint32_t bits = float_to_bits(value), magnitude = bits & 0x7fffffff;
  const auto sign = std::uint16_t(bits >> 16 & 0x8000);
  if (magnitude > 0x7f800000) return {std::uint16_t(sign | 0x7fff)};
  if (magnitude >= 0x477ff000) return {std::uint16_t(sign | 0x7c00)};  // 65520 and above round to inf
  if (magnitude < 0x38800000) {  // subnormal: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits
    const float shifted = bits_to_float(magnitude) + 0.5f;
    return {std::uint16_t(sign | (float_to_bits(shifted) - 0x3f000000))};
  }
  const std::uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return {std::uint16_t(sign | ((rounded - 0x38000000) >> 13))};
#endif
}

template <class S>
LSTMCORE_INLINE S store(Accumulator<S> value) {
  return narrow(value, S{});
}

// What tensor cores multiply: the types above but float and double, and for float one of these. A word of
// tf32 is a float of 11 significant bits; a word of tf32x3 is a float, taken as the sum of two such.
struct tf32 {};
struct tf32x3 {};

// Rounds to nearest, ties away from zero, as the hardware's conversion does.
LSTMCORE_INLINE std::uint32_t tf32_word(float value) {
#ifdef __CUDA_ARCH__
  std::uint32_t word;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(value));
  return word;
#else
  return value != value ? 0x7fffe000u : (float_to_bits(value) + 0x1000) & 0xffffe000u;
#endif
}

template <class O>
struct Operand {  // of 16 bits
  using Stored = O;
  static constexpr int kPerWord = 2;
  LSTMCORE_INLINE std::uint32_t bits(float value) { return store<O>(value).bits; }
};
template <>
struct Operand<tf32> {
  using Stored = float;
  static constexpr int kPerWord = 1;
  LSTMCORE_INLINE std::uint32_t bits(float value) { return tf32_word(value); }
};
template <>
struct Operand<tf32x3> {
  using Stored = float;
  static constexpr int kPerWord = 1;
  LSTMCORE_INLINE std::uint32_t bits(float value) { return float_to_bits(value); }
};

// Two 16-bit weights share a 32-bit word, the first in the low half.
LSTMCORE_INLINE float low_half(std::uint32_t word, bfloat16) { return bits_to_float(word << 16); }
LSTMCORE_INLINE float high_half(std::uint32_t word, bfloat16) { return bits_to_float(word & 0xffff0000); }
LSTMCORE_INLINE float low_half(std::uint32_t word, float16) { return load(float16{std::uint16_t(word)}); }
LSTMCORE_INLINE float high_half(std::uint32_t word, float16) {
  return load(float16{std::uint16_t(word >> 16)});
}

}  // namespace cuda
}  // namespace lstmcore
