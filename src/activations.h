// exp, sigmoid, tanh and the other activations, written once for scalars and vectors of float and double.
// No approximate reciprocals and no re-association: every result is a fixed sequence of IEEE operations.
// NaN stays NaN; comparisons are arranged so that an unordered one keeps the argument.
#pragma once

#include <cstdint>

#include "lstmcore/activation.h"
#include "scalar.h"

namespace lstmcore {
namespace {

// Constants per precision. exp(r) = 1 + r + r^2 q(r) on |r| <= ln(2)/2, with q a minimax polynomial in
// relative error (Remez; 3.1e-9 for float, 3.7e-18 for double). ln 2 is split so that n * ln2_hi is exact
// (Cody & Waite).
template <class T>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  static constexpr float log2e = 1.44269504088896341f;
  static constexpr float ln2_hi = 0.693359375f, ln2_lo = -2.12194440054690583e-4f;
  static constexpr float round_magic = 12582912.0f;   // 1.5 * 2^23: adding it rounds to an integer
  static constexpr float low = -88.0f, high = 89.0f;  // beyond them exp is 0, or inf
  static constexpr int mantissa_bits = 23, exponent_bias = 127;
  static constexpr int terms = 5;
  LSTMCORE_INLINE float q(int k) {
    constexpr float values[terms] = {1.3814467059326511e-3f, 8.3687804111805336e-3f, 4.1668394210893869e-2f,
                                     1.6666520107819589e-1f, 4.9999993412501566e-1f};
    return values[k];
  }
};

template <>
struct ExpConstants<double> {
  static constexpr double log2e = 1.44269504088896340736;
  static constexpr double ln2_hi = 6.93147180369123816490e-01, ln2_lo = 1.90821492927058770002e-10;
  static constexpr double round_magic = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double low = -709.0, high = 710.0;
  static constexpr int mantissa_bits = 52, exponent_bias = 1023;
  static constexpr int terms = 10;
  LSTMCORE_INLINE double q(int k) {
    constexpr double values[terms] = {2.4999965359640574e-8, 2.7630378625210987e-7, 2.7557587342164026e-6,
                                      2.480149276278181e-5,  1.9841269504765383e-4, 1.3888888943922655e-3,
                                      8.3333333334956238e-3, 4.1666666666529189e-2, 1.666666666666641e-1,
                                      5.0000000000000107e-1};
    return values[k];
  }
};

// exp(x) = scale * (1 + tail), with scale a power of two.
template <class V>
struct ExpParts {
  V scale, tail;
};

// low <= x <= 0 (or NaN). Below the smallest normal number scale is 0: results flush cleanly.
template <class V>
LSTMCORE_INLINE ExpParts<V> exp_parts(V x, typename Num<V>::Int exponent_offset) {
  using C = ExpConstants<typename Num<V>::Scalar>;
  const V shifted = Num<V>::fma(x, Num<V>::set(C::log2e), Num<V>::set(C::round_magic));
  const V n = shifted - Num<V>::set(C::round_magic);
  V r = Num<V>::fma(n, Num<V>::set(-C::ln2_hi), x);
  r = Num<V>::fma(n, Num<V>::set(-C::ln2_lo), r);
  V q = Num<V>::set(C::q(0));
  for (int k = 1; k < C::terms; ++k) q = Num<V>::fma(q, r, Num<V>::set(C::q(k)));
  // The low bits of `shifted` hold n; moving n + bias into the exponent field makes 2^n.
  const auto exponent = Num<V>::bits(shifted) + exponent_offset;
  return {Num<V>::from_bits(exponent << C::mantissa_bits), Num<V>::fma(r * r, q, r)};
}

template <class V>
LSTMCORE_INLINE V abs(V x) {
  return Num<V>::from_bits(Num<V>::bits(x) & ~Num<V>::bits(Num<V>::set(-0.0f)));
}

template <class V>
LSTMCORE_INLINE V copy_sign(V magnitude, V sign) {
  const auto mask = Num<V>::bits(Num<V>::set(-0.0f));
  return Num<V>::from_bits((Num<V>::bits(magnitude) & ~mask) | (Num<V>::bits(sign) & mask));
}

template <class V>
LSTMCORE_INLINE V clamp_low(V x) {
  const V low = Num<V>::set(ExpConstants<typename Num<V>::Scalar>::low);
  return x < low ? low : x;
}

template <class V>
LSTMCORE_INLINE ExpParts<V> exp_parts_nonpositive(V x) {
  return exp_parts(clamp_low(x), Num<V>::set_int(ExpConstants<typename Num<V>::Scalar>::exponent_bias));
}

template <class V>
LSTMCORE_INLINE V exp_nonpositive(V x) {
  const ExpParts<V> e = exp_parts_nonpositive(x);
  // The product is exact; without a fused multiply-add, scale * tail alone could flush to zero.
  return e.scale * (Num<V>::set(1) + e.tail);
}

// exp(x) - 1 without cancellation near 0.
template <class V>
LSTMCORE_INLINE V expm1_nonpositive(V x) {
  const ExpParts<V> e = exp_parts_nonpositive(x);
  return Num<V>::fma(e.scale, e.tail, e.scale - Num<V>::set(1));
}

template <class V>
LSTMCORE_INLINE V exp(V x) {
  using C = ExpConstants<typename Num<V>::Scalar>;
  const V high = Num<V>::set(C::high), zero = Num<V>::set(0);
  x = clamp_low(x);
  x = x > high ? high : x;
  // 2^128 is no float, but exp(88.5) is: above 0 the scale is halved and the result doubled.
  const auto bias = Num<V>::set_int(C::exponent_bias), one = Num<V>::set_int(1);
  const ExpParts<V> e = exp_parts(x, x > zero ? bias - one : bias);
  return e.scale * (Num<V>::set(1) + e.tail) * (x > zero ? Num<V>::set(2) : Num<V>::set(1));
}

// 1 / (1 + exp(-x)), from exp(-|x|), so that small results keep their relative accuracy.
template <class V>
LSTMCORE_INLINE V sigmoid(V x) {
  const V one = Num<V>::set(1);
  const V e = exp_nonpositive(-abs(x));
  return (x < Num<V>::set(0) ? e : one) / (one + e);
}

// tanh |x| = -m / (2 + m) with m = exp(-2 |x|) - 1, which is accurate at 0 and saturates to exactly 1.
template <class V>
LSTMCORE_INLINE V tanh(V x) {
  const V two = Num<V>::set(2);
  const V m = expm1_nonpositive(abs(x) * Num<V>::set(-2));
  return copy_sign(m / (two + m), x);
}

// min with the upper bound first, then max with the lower, as TensorFlow's clip_by_value; NaN stays NaN.
template <class V>
LSTMCORE_INLINE V clip(V x, V lower, V upper) {
  x = x > upper ? upper : x;
  return x < lower ? lower : x;
}

template <class V>
LSTMCORE_INLINE V hard_sigmoid(V x, V slope) {
  return clip(Num<V>::fma(x, slope, Num<V>::set(0.5f)), Num<V>::set(0), Num<V>::set(1));
}

// Of the variants of hard_sigmoid; 0 for anything else.
LSTMCORE_INLINE double hard_sigmoid_slope(Activation activation) {
  if (activation == Activation::hard_sigmoid) return 0.2;
  return activation == Activation::hard_sigmoid_keras3 ? 1.0 / 6.0 : 0.0;
}

template <class V>
LSTMCORE_INLINE V activate(Activation activation, V x) {
  const V zero = Num<V>::set(0), one = Num<V>::set(1);
  using T = typename Num<V>::Scalar;
  switch (activation) {
    case Activation::tanh:
      return tanh(x);
    case Activation::sigmoid:
      return sigmoid(x);
    case Activation::relu:
      return x < zero ? zero : x;
    case Activation::linear:
      return x;
    case Activation::softsign:
      return x / (one + abs(x));
    case Activation::hard_sigmoid:
    case Activation::hard_sigmoid_keras3:
      return hard_sigmoid(x, Num<V>::set(T(hard_sigmoid_slope(activation))));
    case Activation::relu6:
      return clip(x, zero, Num<V>::set(6));
    case Activation::leaky_relu:
      return x < zero ? x * Num<V>::set(T(0.2)) : x;
    case Activation::elu:
      return x > zero ? x : expm1_nonpositive(x);
    case Activation::selu: {
      // Klambauer et al. 2017, eq. 14, and the product scale * alpha.
      const V negative = expm1_nonpositive(x) * Num<V>::set(T(1.7580993408473768599));
      return x > zero ? x * Num<V>::set(T(1.0507009873554804934)) : negative;
    }
    case Activation::exponential:
      return exp(x);
    case Activation::silu:
      return x * sigmoid(x);
  }
  return x;
}

}  // namespace
}  // namespace lstmcore
