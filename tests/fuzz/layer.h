// A random layer: spec, weights, and the Lstm of an ISA level.
#pragma once

#include "input.h"
#include "lstmcore/runtime.h"

namespace fuzz {

using lstmcore::Activation;
using lstmcore::Lstm;
using lstmcore::LstmSpec;

constexpr Activation kGateActivations[] = {Activation::sigmoid, Activation::hard_sigmoid,
                                           Activation::hard_sigmoid_keras3};

inline LstmSpec random_spec(Input& input) {
  LstmSpec spec;
  spec.input_size = input.size();
  spec.num_units = input.size();
  if (input.one_in(3)) spec.num_proj = input.size();
  spec.peepholes = input.flip();
  spec.forget_bias = input.pick({1.0, 0.0, -0.75, 3.5});
  const double nan = std::nan("");
  if (input.one_in(3)) spec.cell_clip = input.pick({0.9, 0.05, 0.0, -0.25, nan});
  if (input.one_in(3)) spec.proj_clip = input.pick({0.4, 0.01, 0.0, -0.25, nan});
  const auto last = static_cast<int64_t>(Activation::silu);
  if (input.one_in(3)) spec.activation = static_cast<Activation>(input.integer(0, last));
  if (input.one_in(3)) spec.recurrent_activation = kGateActivations[input.integer(0, 2)];
  return spec;
}

template <class T>
struct Layer {
  LstmSpec spec;
  Guarded<T> W, R, b, p_i, p_f, p_o, projection;

  Layer(Input& input, const LstmSpec& s) : spec(s) {
    const int64_t I = s.input_size, H = s.num_units, P = s.output_size();
    const Kind kind = input.one_in(12) ? Kind::special : Kind::plain;
    const double scale = input.pick({1.5, 0.2, 6.0}) / std::sqrt(static_cast<double>(I + P + 1));
    W = Guarded<T>(input, I * 4 * H, scale, kind);
    R = Guarded<T>(input, P * 4 * H, scale, kind);
    b = Guarded<T>(input, 4 * H, 1, kind);
    p_i = Guarded<T>(input, s.peepholes ? H : 0, 1, kind);
    p_f = Guarded<T>(input, s.peepholes ? H : 0, 1, kind);
    p_o = Guarded<T>(input, s.peepholes ? H : 0, 1, kind);
    projection = Guarded<T>(input, s.num_proj ? H * P : 0, 1.5 / std::sqrt(static_cast<double>(H + 1)), kind);
  }

  lstmcore::LstmWeights<T> weights() const {
    return {W.data(), R.data(), b.data(), p_i.data(), p_f.data(), p_o.data(), projection.data()};
  }
  Lstm<T> lstm(const std::string& isa = lstmcore::current_isa()) const { return {spec, weights(), isa}; }
  double row_cost() const {
    const double H = static_cast<double>(spec.num_units), P = static_cast<double>(spec.output_size());
    return 4 * H * (static_cast<double>(spec.input_size) + P) + (spec.num_proj ? H * P : 0) + 1;
  }
};

// Steps and rows such that a call costs little; a few are large enough to be given to several threads.
struct Sizes {
  int64_t steps, batch;
  Sizes(Input& input, double row_cost) {
    const double budget = input.one_in(6) ? 1.5e6 : 1e5;
    steps = input.one_in(4) ? input.integer(0, 200) : input.integer(0, 12);
    batch = input.one_in(4) ? input.integer(0, 120) : input.integer(0, 12);
    while (static_cast<double>(steps) * static_cast<double>(batch) * row_cost > budget && steps * batch > 1)
      (steps > batch ? steps : batch) /= 2;
  }
};

}  // namespace fuzz
