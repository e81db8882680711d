#include "cpu/pack.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>

#include "cpu/pool.h"
#include "cpu/threads.h"
#include "lstmcore/runtime.h"

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

// Copying a weight from rows of a large matrix takes as long as so many multiply-adds.
constexpr std::int64_t kCopyWork = 8;

// The columns of one panel's units, of all 4 gates, from rows of 4H gate columns.
template <class T>
void pack_panel(const T* matrix, std::int64_t K, std::int64_t H, std::int64_t panel, int L, T* packed) {
  const std::int64_t begin = panel * L, units = std::min<std::int64_t>(L, H - begin);
  for (std::int64_t k = 0; k < K; ++k)
    for (int g = 0; g < kGates; ++g)
      std::fill_n(std::copy_n(matrix + (k * kGates + g) * H + begin, units, packed + (k * kGates + g) * L),
                  L - units, T(0));
}

// Large matrices by all threads: the largest take tens of milliseconds.
template <class T>
AlignedArray<T> pack_gates(const T* matrix, std::int64_t K, std::int64_t H, std::int64_t panels, int L,
                           Interruption* interruption) {
  constexpr std::int64_t kLarge = 1 << 18;
  const std::size_t size = product(panels, K, kGates * L);
  AlignedArray<T> packed = AlignedArray<T>::uninitialized(size);
  struct Job {
    const T* matrix;
    T* packed;
    std::int64_t K, H, panels;
    int L, threads;
    Interruption* interruption;
  } const job = {matrix, packed.data(), K, H, panels, L, K * H < kLarge ? 1 : num_threads(), interruption};
  const auto work = [](const void* of, std::int64_t, int share) {
    const Job& job = *static_cast<const Job*>(of);
    const std::int64_t panel_size = job.K * kGates * job.L;
    const std::int64_t end = part_begin(job.panels, share + 1, job.threads);
    for (std::int64_t panel = part_begin(job.panels, share, job.threads); panel < end; ++panel) {
      if (job.interruption && job.interruption->poll(panel_size * kCopyWork)) return;
      pack_panel(job.matrix, job.K, job.H, panel, job.L, job.packed + panel * panel_size);
    }
  };
  run_phases(job.threads, 1, work, &job, interruption);
  return packed;
}

template <class T>
void pack_peepholes(const T* const (&p)[3], std::int64_t H, int L, T* packed) {
  for (std::int64_t unit = 0; unit < H; ++unit)
    for (int g = 0; g < 3; ++g) packed[((unit / L) * 3 + g) * L + unit % L] = p[g][unit];
}

template <class T>
void pack_projection(const T* projection, std::int64_t H, std::int64_t P, int L, T* packed,
                     Interruption* interruption) {
  const std::int64_t width = kGates * L;
  for (std::int64_t output = 0; output < P && !(interruption && interruption->poll(H * kCopyWork)); ++output)
    for (std::int64_t k = 0; k < H; ++k)
      packed[((output / width) * H + k) * width + output % width] = projection[k * P + output];
}

// The forget bias is added here, once. A NaN cell_clip must poison every cell as TensorFlow's does, but the
// kernel's clip keeps its argument when the limit is unordered: a NaN forget gate does the same job.
template <class T>
void add_forget_bias(const LstmSpec& spec, int L, T* packed) {
  constexpr int kForget = 2;
  const bool poison = spec.cell_clip && std::isnan(*spec.cell_clip);
  const double forget_bias = poison ? std::numeric_limits<double>::quiet_NaN() : spec.forget_bias;
  for (std::int64_t unit = 0; unit < spec.num_units; ++unit) {
    T* f = packed + ((unit / L) * kGates + kForget) * L + unit % L;
    *f = static_cast<T>(static_cast<double>(*f) + forget_bias);
  }
}

}  // namespace

template <class T>
PackedWeights<T> pack(const LstmSpec& spec, const LstmWeights<T>& weights, int L,
                      Interruption* interruption) {
  const std::int64_t I = spec.input_size, H = spec.num_units, P = spec.output_size();
  PackedWeights<T> packed;
  packed.panels = panels_of(H, L);
  packed.W = pack_gates(weights.W, I, H, packed.panels, L, interruption);
  packed.R = pack_gates(weights.R, P, H, packed.panels, L, interruption);
  packed.bias = pack_gates(weights.b, 1, H, packed.panels, L, interruption);
  add_forget_bias(spec, L, packed.bias.data());
  if (spec.peepholes) {
    packed.peepholes = AlignedArray<T>(product(packed.panels, 3, L));
    pack_peepholes({weights.p_i, weights.p_f, weights.p_o}, H, L, packed.peepholes.data());
  }
  if (spec.num_proj) {
    packed.projection_panels = panels_of(P, kGates * L);
    packed.projection = AlignedArray<T>(product(packed.projection_panels, H, kGates * L));
    pack_projection(weights.projection, H, P, L, packed.projection.data(), interruption);
    packed.projection_bias = AlignedArray<T>(static_cast<std::size_t>(kGates * L));
    if (spec.proj_clip && std::isnan(*spec.proj_clip))
      std::fill_n(packed.projection_bias.data(), kGates * L, std::numeric_limits<T>::quiet_NaN());
  }
  if (interruption) interruption->throw_if_requested();
  return packed;
}

template PackedWeights<float> pack(const LstmSpec&, const LstmWeights<float>&, int, Interruption*);
template PackedWeights<double> pack(const LstmSpec&, const LstmWeights<double>&, int, Interruption*);

}  // namespace cpu
}  // namespace lstmcore
