#include "cpu/pack.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>

namespace lstmcore {
namespace cpu {
namespace {

std::int64_t panels_of(std::int64_t width, std::int64_t panel_width) {
  return (width + panel_width - 1) / panel_width;
}

std::size_t product(std::int64_t a, std::int64_t b, std::int64_t c) {
  std::int64_t ab, abc;
  if (__builtin_mul_overflow(a, b, &ab) || __builtin_mul_overflow(ab, c, &abc)) throw std::bad_alloc();
  return static_cast<std::size_t>(abc);
}

// One row of 4H gate columns to the same row k of every panel.
template <class T>
void pack_gate_row(const T* row, std::int64_t H, std::int64_t k, std::int64_t K, int L, T* packed) {
  for (std::int64_t unit = 0; unit < H; ++unit) {
    T* to = packed + ((unit / L) * K + k) * kGates * L + unit % L;
    for (int g = 0; g < kGates; ++g) to[g * L] = row[g * H + unit];
  }
}

template <class T>
AlignedArray<T> pack_gate_rows(const T* matrix, std::int64_t K, std::int64_t H, std::int64_t panels, int L) {
  AlignedArray<T> packed(product(panels, K, kGates * L));
  for (std::int64_t k = 0; k < K; ++k) pack_gate_row(matrix + k * 4 * H, H, k, K, L, packed.data());
  return packed;
}

template <class T>
void pack_peepholes(const T* const (&p)[3], std::int64_t H, int L, T* packed) {
  for (std::int64_t unit = 0; unit < H; ++unit)
    for (int g = 0; g < 3; ++g) packed[((unit / L) * 3 + g) * L + unit % L] = p[g][unit];
}

template <class T>
void pack_projection(const T* projection, std::int64_t H, std::int64_t P, int L, T* packed) {
  const std::int64_t width = kGates * L;
  for (std::int64_t output = 0; output < P; ++output)
    for (std::int64_t k = 0; k < H; ++k)
      packed[((output / width) * H + k) * width + output % width] = projection[k * P + output];
}

// The forget bias is added here, once. A NaN cell_clip must poison every cell as TensorFlow's does, but the
// kernel's clip keeps its argument when the limit is unordered: a NaN forget gate does the same job.
template <class T>
void pack_bias(const LstmSpec& spec, const T* b, int L, T* packed) {
  constexpr int kForget = 2;
  pack_gate_row(b, spec.num_units, 0, 1, L, packed);
  const bool poison = spec.cell_clip && std::isnan(*spec.cell_clip);
  const double forget_bias = poison ? std::numeric_limits<double>::quiet_NaN() : spec.forget_bias;
  for (std::int64_t unit = 0; unit < spec.num_units; ++unit) {
    T* f = packed + ((unit / L) * kGates + kForget) * L + unit % L;
    *f = static_cast<T>(static_cast<double>(*f) + forget_bias);
  }
}

}  // namespace

template <class T>
PackedWeights<T> pack(const LstmSpec& spec, const LstmWeights<T>& weights, int L) {
  const std::int64_t I = spec.input_size, H = spec.num_units, P = spec.output_size();
  PackedWeights<T> packed;
  packed.panels = panels_of(H, L);
  packed.W = pack_gate_rows(weights.W, I, H, packed.panels, L);
  packed.R = pack_gate_rows(weights.R, P, H, packed.panels, L);
  packed.bias = AlignedArray<T>(product(packed.panels, kGates, L));
  pack_bias(spec, weights.b, L, packed.bias.data());
  if (spec.peepholes) {
    packed.peepholes = AlignedArray<T>(product(packed.panels, 3, L));
    pack_peepholes({weights.p_i, weights.p_f, weights.p_o}, H, L, packed.peepholes.data());
  }
  if (spec.num_proj) {
    packed.projection_panels = panels_of(P, kGates * L);
    packed.projection = AlignedArray<T>(product(packed.projection_panels, H, kGates * L));
    pack_projection(weights.projection, H, P, L, packed.projection.data());
    packed.projection_bias = AlignedArray<T>(static_cast<std::size_t>(kGates * L));
    if (spec.proj_clip && std::isnan(*spec.proj_clip))
      std::fill_n(packed.projection_bias.data(), kGates * L, std::numeric_limits<T>::quiet_NaN());
  }
  return packed;
}

template PackedWeights<float> pack(const LstmSpec&, const LstmWeights<float>&, int);
template PackedWeights<double> pack(const LstmSpec&, const LstmWeights<double>&, int);

}  // namespace cpu
}  // namespace lstmcore
