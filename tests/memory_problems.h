// Layers, calls and stacks whose memory the tests count.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "checks.h"
#include "lstmcore/stack.h"

namespace memory_problems {

using checks::random_values;
using checks::Values;
using lstmcore::ForwardArgs;
using lstmcore::Lstm;
using lstmcore::LstmSpec;
using std::int64_t;

struct Weights {
  LstmSpec spec;
  Values W, R, b, p, projection;

  Weights(int64_t I, int64_t H, std::optional<int64_t> P, unsigned seed) {
    spec.input_size = I;
    spec.num_units = H;
    spec.num_proj = P;
    spec.peepholes = true;
    spec.forget_bias = 0.75;
    W = random_values(I * 4 * H, 0.2f, seed);
    R = random_values(spec.output_size() * 4 * H, 0.2f, seed + 1);
    b = random_values(4 * H, 1, seed + 2);
    p = random_values(H, 1, seed + 3);
    projection = random_values(H * spec.output_size(), 0.3f, seed + 4);
  }
  Lstm<float> packed() const {
    return {spec, {W.data(), R.data(), b.data(), p.data(), p.data(), p.data(), projection.data()}};
  }
};

inline std::shared_ptr<const Lstm<float>> layer(int64_t I, int64_t H, std::optional<int64_t> P,
                                                unsigned seed = 1) {
  return std::make_shared<const Lstm<float>>(Weights(I, H, P, seed).packed());
}

// The memory of one call: T steps of N rows, the state in place.
struct Call {
  int64_t T, N, I, H, P;
  Values x, c0, h0, y, c, h;
  std::vector<int64_t> lengths;

  Call(const Lstm<float>& lstm, int64_t steps, int64_t batch)
      : T(steps),
        N(batch),
        I(lstm.spec().input_size),
        H(lstm.spec().num_units),
        P(lstm.spec().output_size()) {
    x = random_values(T * N * I, 1, 91);
    c0 = c = random_values(N * H, 1, 92);
    h0 = h = random_values(N * P, 1, 93);
    y.resize(static_cast<std::size_t>(T * N * P));
    for (int64_t n = 0; n < N; ++n) lengths.push_back(T - n % T);
  }
  ForwardArgs<float> args(bool ragged = false) {
    ForwardArgs<float> args;
    args.steps = T;
    args.batch = N;
    args.x = {x.data(), N * I, I};
    args.c0 = args.c_n = c.data();
    args.h0 = args.h_n = h.data();
    args.y = {y.data(), N * P, P};
    if (ragged) args.lengths = lengths.data();
    return args;
  }
  void restore() {
    c = c0;
    h = h0;
  }
};

struct Stack {
  std::vector<lstmcore::StackLayer<float>> layers;
  int64_t T, N;
  Values x, y;
  std::vector<Values> states;
  lstmcore::StackArgs<float> args;

  Stack(int64_t steps, int64_t batch, int64_t H) : T(steps), N(batch) {
    layers = {{layer(11, H, {}, 5), layer(11, H, 9, 6)},
              {layer(H + 9, H, 7, 7), nullptr},
              {layer(7, H, {}, 8), layer(7, H, {}, 9)}};
    x = random_values(T * N * 11, 1, 10);
    y.resize(static_cast<std::size_t>(T * N * 2 * H));
    args.call.steps = T;
    args.call.batch = N;
    args.call.x = {x.data(), N * 11, 11};
    args.call.y = {y.data(), N * 2 * H, 2 * H};
    for (const auto& of : layers)
      for (const Lstm<float>* lstm : {of.forward.get(), of.backward.get()})
        if (lstm) {
          states.push_back(random_values(N * (H + lstm->spec().output_size()), 1, 11));
          float *const c = states.back().data(), *const h = c + N * H;
          args.states.push_back({c, h, c, h});  // in place
        }
  }
  void run() { lstmcore::forward_stack(layers, args); }
};

}  // namespace memory_problems
