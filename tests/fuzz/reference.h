// The equations of include/lstmcore/lstm.h in plain double precision, with a running bound of how far a
// correct result in T may be from them (Higham 2002, section 3.3). It shares no code with the library.
#pragma once

#include "layer.h"

namespace fuzz {

// The result that exact arithmetic gives is within e of v, and so is a correct one in T. e is not finite
// where nothing can be said.
struct Bounded {
  double v = 0, e = 0;
};

template <class T>
constexpr double kUnit = 2 * std::numeric_limits<T>::epsilon();  // of T's rounding, and of double's
template <class T>
constexpr double kTiny = std::numeric_limits<T>::min();  // denormals are flushed
constexpr double kUnbounded = std::numeric_limits<double>::infinity();

template <class T>
Bounded limited(Bounded a) {  // near the largest number a correct result may be infinite
  if (!(std::fabs(a.v) + a.e < static_cast<double>(std::numeric_limits<T>::max()) / 16)) a.e = kUnbounded;
  return a;
}
template <class T>
Bounded add(Bounded a, Bounded b) {
  const double v = a.v + b.v;
  return limited<T>({v, a.e + b.e + kUnit<T> * (std::fabs(v) + a.e + b.e) + kTiny<T>});
}
template <class T>
Bounded multiply(Bounded a, Bounded b) {
  const double v = a.v * b.v, e = std::fabs(a.v) * b.e + std::fabs(b.v) * a.e + a.e * b.e;
  return limited<T>(
      {v, e + kUnit<T> * (std::fabs(v) + e) + kTiny<T> * (1 + std::fabs(a.v) + std::fabs(b.v))});
}

// Upper bound first, then the lower; a NaN limit poisons.
inline Bounded clipped(Bounded a, const std::optional<double>& limit, double in_t) {
  if (!limit) return a;
  if (std::isnan(*limit)) return {std::nan(""), a.e};
  a.v = a.v > in_t ? in_t : a.v;
  a.v = a.v < -in_t ? -in_t : a.v;
  return a;
}

inline double hard_slope(Activation activation) {
  return activation == Activation::hard_sigmoid ? 0.2 : 1.0 / 6.0;
}
inline double value_of(Activation activation, double x) {
  switch (activation) {
    case Activation::tanh:
      return std::tanh(x);
    case Activation::sigmoid:
      return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
    case Activation::relu:
      return x < 0 ? 0 : x;
    case Activation::linear:
      return x;
    case Activation::softsign:
      return x / (1 + std::fabs(x));
    case Activation::hard_sigmoid:
    case Activation::hard_sigmoid_keras3:
      return std::fmin(1, std::fmax(0, hard_slope(activation) * x + 0.5));
    case Activation::relu6:
      return std::fmin(6, std::fmax(0, x));
    case Activation::leaky_relu:
      return x < 0 ? 0.2 * x : x;
    case Activation::elu:
      return x < 0 ? std::expm1(x) : x;
    case Activation::selu:  // Klambauer et al. 2017
      return 1.0507009873554805 * (x < 0 ? 1.6732632423543772 * std::expm1(x) : x);
    case Activation::exponential:
      return std::exp(x);
    case Activation::silu:
      return x * value_of(Activation::sigmoid, x);
  }
  fail("an activation that the harness does not know");
}
// The largest slope anywhere near x.
inline double slope_of(Activation activation, Bounded x) {
  switch (activation) {
    case Activation::sigmoid:
      return 0.25;
    case Activation::hard_sigmoid:
    case Activation::hard_sigmoid_keras3:
      return hard_slope(activation);
    case Activation::selu:
      return 1.7581;
    case Activation::silu:
      return 1.1;
    case Activation::exponential:
      return std::exp(x.v + x.e);
    default:
      return 1;
  }
}
template <class T>
Bounded activate(Activation activation, Bounded x) {
  const double v = value_of(activation, x.v);
  // 4 units are 16 ULP at worst; docs/activations.md measures 2.5. A hard sigmoid rounds about 0.5.
  double rounding = 4 * kUnit<T> * std::fabs(v) + 8 * kTiny<T> * (1 + std::fabs(x.v));
  if (activation == Activation::hard_sigmoid || activation == Activation::hard_sigmoid_keras3)
    rounding += 4 * kUnit<T> * std::fmin(1, std::fabs(x.v));
  return limited<T>({v, slope_of(activation, x) * x.e + rounding});
}

// One row of one layer.
template <class T>
class Reference {
 public:
  std::vector<Bounded> c, h;             // [H], [P]
  std::vector<Bounded> i, f, o, ci, co;  // [H] gates of the last step

  Reference(const Layer<T>& layer, const T* c0, const T* h0)
      : layer_(layer), H_(layer.spec.num_units), P_(layer.spec.output_size()) {
    for (int64_t u = 0; u < H_; ++u) c.push_back(limited<T>({c0 ? static_cast<double>(c0[u]) : 0, kTiny<T>}));
    for (int64_t p = 0; p < P_; ++p) h.push_back(limited<T>({h0 ? static_cast<double>(h0[p]) : 0, kTiny<T>}));
    for (auto* gate : {&i, &f, &o, &ci, &co}) gate->resize(static_cast<std::size_t>(H_));
    m_.resize(static_cast<std::size_t>(H_));
  }

  void step(const T* x) {
    const LstmSpec& spec = layer_.spec;
    Sums z(4 * H_);
    for (int64_t k = 0; k < 4 * H_; ++k) {
      z.add(k, {static_cast<double>(layer_.b.data()[k]), kTiny<T>}, 1);
      if (k / H_ == 2) z.add(k, {spec.forget_bias, 0}, 1);
    }
    for (int64_t k = 0; k < spec.input_size; ++k)
      z.add_row({static_cast<double>(x[k]), kTiny<T>}, layer_.W.data() + k * 4 * H_);
    for (int64_t k = 0; k < P_; ++k) z.add_row(h[k], layer_.R.data() + k * 4 * H_);
    const Activation gate = spec.recurrent_activation;
    const double clip = static_cast<double>(static_cast<T>(spec.cell_clip.value_or(0)));
    for (int64_t u = 0; u < H_; ++u) {
      i[u] = activate<T>(gate, with_peephole(z.total(u), layer_.p_i, u, c[u]));
      f[u] = activate<T>(gate, with_peephole(z.total(2 * H_ + u), layer_.p_f, u, c[u]));
      ci[u] = activate<T>(spec.activation, z.total(H_ + u));
      c[u] = clipped(add<T>(multiply<T>(f[u], c[u]), multiply<T>(i[u], ci[u])), spec.cell_clip, clip);
      o[u] = activate<T>(gate, with_peephole(z.total(3 * H_ + u), layer_.p_o, u, c[u]));
      co[u] = activate<T>(spec.activation, c[u]);
      m_[u] = multiply<T>(o[u], co[u]);
    }
    if (spec.num_proj)
      project();
    else
      h = m_;
  }

 private:
  // Sums of products: value, sum of magnitudes, error brought in by the factors.
  struct Sums {
    std::vector<double> v, magnitude, e;
    int64_t terms = 0;
    explicit Sums(int64_t width) : v(static_cast<std::size_t>(width)), magnitude(v), e(v) {}
    void add(int64_t k, Bounded a, double w) {
      v[k] += a.v * w;
      magnitude[k] += std::fabs(a.v * w);
      e[k] += a.e * std::fabs(w) + kTiny<T> * (1 + std::fabs(a.v) + std::fabs(w));
    }
    void add_row(Bounded a, const T* w) {
      ++terms;
      for (std::size_t k = 0; k < v.size(); ++k) add(static_cast<int64_t>(k), a, static_cast<double>(w[k]));
    }
    Bounded total(int64_t k) const {
      const double sum = limited<T>({magnitude[k], 0}).e + magnitude[k] + e[k];
      return limited<T>({v[k], e[k] + kUnit<T> * static_cast<double>(terms + 6) * sum});
    }
  };

  Bounded with_peephole(Bounded z, const Guarded<T>& p, int64_t u, Bounded cell) const {
    if (!layer_.spec.peepholes) return z;
    return add<T>(z, multiply<T>({static_cast<double>(p.data()[u]), kTiny<T>}, cell));
  }
  void project() {
    const auto& limit = layer_.spec.proj_clip;
    const double clip = static_cast<double>(static_cast<T>(limit.value_or(0)));
    Sums sums(P_);
    for (int64_t u = 0; u < H_; ++u) sums.add_row(m_[u], layer_.projection.data() + u * P_);
    for (int64_t p = 0; p < P_; ++p) h[p] = clipped(sums.total(p), limit, clip);
  }

  const Layer<T>& layer_;
  int64_t H_, P_;
  std::vector<Bounded> m_;
};

template <class T>
void expect_within(const std::vector<Bounded>& expected, const T* got, const char* what) {
  for (std::size_t k = 0; k < expected.size(); ++k) {
    const auto [v, e] = expected[k];
    if (!std::isfinite(e) || e > 0.01 * (1 + std::fabs(v))) {
      ++counts.loose;
      if (!std::isfinite(e)) continue;
    } else {
      ++counts.compared;
    }
    if (std::isnan(v) ? std::isnan(got[k]) : std::fabs(static_cast<double>(got[k]) - v) <= e) continue;
    char text[200];
    std::snprintf(text, sizeof text, "%s[%zu]: expected %.17g within %.3g, got %.17g", what, k, v, e,
                  static_cast<double>(got[k]));
    fail(text);
  }
}

}  // namespace fuzz
