// A stack in one call gives bit for bit what its layers give one by one, both directions side by side.
#include <cmath>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "checks.h"
#include "lstmcore/runtime.h"
#include "lstmcore/stack.h"

namespace {

using checks::check;
using checks::random_values;
using checks::Values;
using lstmcore::Activation;
using lstmcore::ForwardArgs;
using lstmcore::Lstm;
using lstmcore::LstmSpec;
using lstmcore::StackArgs;
using lstmcore::StackLayer;
using lstmcore::StackState;

std::shared_ptr<const Lstm<float>> make(std::int64_t I, std::int64_t H, unsigned seed,
                                        Activation gates = Activation::sigmoid) {
  LstmSpec spec;
  spec.input_size = I;
  spec.num_units = H;
  spec.recurrent_activation = gates;
  const Values W = random_values(I * 4 * H, 0.3f, seed), R = random_values(H * 4 * H, 0.3f, seed + 1),
               b = random_values(4 * H, 1, seed + 2);
  return std::make_shared<const Lstm<float>>(spec,
                                             lstmcore::LstmWeights<float>{W.data(), R.data(), b.data()});
}

constexpr std::int64_t T = 7, N = 5, I = 3;
const std::int64_t kLengths[N] = {7, 0, 3, 6, 1};

// Both directions of one layer, one after the other, into a dense [T, N, width] array.
Values layer_by_layer(const std::vector<StackLayer<float>>& layers, const Values& x, Values& last_state) {
  Values input = x;
  std::int64_t width = I;
  for (const auto& layer : layers) {
    const std::int64_t out = layer.output_size();
    Values y(static_cast<std::size_t>(T * N * out));
    std::int64_t begin = 0;
    for (const bool reverse : {false, true}) {
      const auto& lstm = reverse ? layer.backward : layer.forward;
      if (!lstm) continue;
      const std::int64_t H = lstm->spec().num_units;
      last_state.assign(static_cast<std::size_t>(2 * N * H), 0);
      ForwardArgs<float> args;
      args.steps = T;
      args.batch = N;
      args.x = {input.data(), N * width, width};
      args.lengths = kLengths;
      args.reverse = reverse;
      args.y = {y.data() + begin, N * out, out};
      args.c_n = last_state.data();
      args.h_n = last_state.data() + N * H;
      lstm->forward(args);
      begin += H;
    }
    input = y;
    width = out;
  }
  return input;
}

void test_stack(const std::vector<StackLayer<float>>& layers, const std::string& what) {
  const Values x = random_values(T * N * I, 2, 77);
  Values expected_state;
  const Values expected = layer_by_layer(layers, x, expected_state);
  const std::int64_t out = layers.back().output_size();
  for (const int threads : {1, 3}) {
    StackArgs<float> args;
    std::vector<Values> states;
    for (const auto& layer : layers)
      for (const auto& lstm : {layer.forward, layer.backward})
        if (lstm) states.emplace_back(static_cast<std::size_t>(2 * N * lstm->spec().num_units));
    for (Values& state : states)
      args.states.push_back({nullptr, nullptr, state.data(), state.data() + state.size() / 2});
    Values y(expected.size(), -1);
    args.call.steps = T;
    args.call.batch = N;
    args.call.x = {x.data(), N * I, I};
    args.call.lengths = kLengths;
    args.call.y = {y.data(), N * out, out};
    args.call.threads = threads;
    lstmcore::forward_stack(layers, args);
    check(y == expected, what + ": outputs");
    check(states.back() == expected_state, what + ": the last state");
    args.call.y = {};  // only states are wanted
    for (Values& state : states) state.assign(state.size(), 0);
    lstmcore::forward_stack(layers, args);
    check(states.back() == expected_state, what + ": the state without outputs");
  }
}

void test_bad_stacks() {
  const auto refused = [](const std::vector<StackLayer<float>>& layers, std::size_t states) {
    StackArgs<float> args;
    args.states.resize(states);
    try {
      lstmcore::forward_stack(layers, args);
    } catch (const std::invalid_argument&) {
      return true;
    }
    return false;
  };
  const auto first = make(I, 4, 1);
  check(refused({}, 0), "no layers");
  check(refused({{nullptr, nullptr}}, 0), "a layer without directions");
  check(refused({{first, nullptr}, {make(5, 4, 2), nullptr}}, 2), "widths that do not meet");
  check(refused({{first, make(I + 1, 4, 3)}}, 2), "directions of other inputs");
  check(refused({{first, nullptr}}, 2), "too many states");
}

// The state that is missing is the last layer's: nothing of the layer below is written either.
void test_missing_state() {
  const Values x = random_values(3 * I, 1, 8);
  Values c(4, 9.0f);
  StackArgs<float> args;
  args.call.steps = 1;
  args.call.batch = 1;
  args.call.x = {x.data(), I, I};
  args.states = {{nullptr, nullptr, c.data(), nullptr}, {nullptr, nullptr, nullptr, nullptr}};
  std::string message;
  try {
    lstmcore::forward_stack<float>({{make(I, 4, 1), nullptr}, {make(4, 5, 2), nullptr}}, args);
  } catch (const std::invalid_argument& error) {
    message = error.what();
  }
  check(message == "states[1]: c_n is missing", "missing state, got '" + message + "'");
  check(c == Values(4, 9.0f), "missing state: nothing is written");
}

// Before memory between layers is taken or a layer runs: no state is written.
void test_bad_calls() {
  const std::vector<StackLayer<float>> layers = {{make(I, 4, 1), nullptr}, {make(4, 3, 2), nullptr}};
  const Values x(T * N * I, 0.5f);
  const auto refused = [&](std::int64_t steps, std::int64_t batch, const std::int64_t* lengths,
                           const std::int64_t* offsets) {
    Values c(2 * N * 4, -7), h(c);
    StackArgs<float> args;
    args.call.steps = steps;
    args.call.batch = batch;
    args.call.x = {x.data(), N * I, I};
    args.call.lengths = lengths;
    args.call.offsets = offsets;
    args.states = {{nullptr, nullptr, c.data(), h.data()},
                   {nullptr, nullptr, c.data() + N * 4, h.data() + N * 4}};
    try {
      lstmcore::forward_stack(layers, args);
    } catch (const std::invalid_argument&) {
      return c == Values(c.size(), -7) && h == Values(h.size(), -7);
    }
    return false;
  };
  const std::vector<std::int64_t> lengths(N, T + 1), negative(N, -1), offsets(N + 1, 0),
      huge(N + 1, INT64_MAX), falling = {0, 1, -5};
  check(refused(-1, N, nullptr, nullptr), "negative steps");
  check(refused(T, -1, nullptr, nullptr), "a negative batch");
  check(refused(T, -1, nullptr, offsets.data() + 1), "a negative batch of packed rows");
  check(refused(T, N, lengths.data(), nullptr), "lengths above T");
  check(refused(T, N, negative.data(), nullptr), "negative lengths");
  check(refused(T, N, nullptr, huge.data()), "offsets that begin late");
  check(refused(T, 2, nullptr, falling.data()), "offsets that fall");
}

// One step from zeros, by the definition.
void test_hard_gates() {
  for (const auto& [gates, slope] :
       {std::pair(Activation::hard_sigmoid, 0.2), std::pair(Activation::hard_sigmoid_keras3, 1.0 / 6.0)}) {
    constexpr std::int64_t H = 19;
    const Values W = random_values(4 * H, 4, 5), R(4 * H * H, 0.0f), b = random_values(4 * H, 1, 6);
    LstmSpec spec;
    spec.input_size = 1;
    spec.num_units = H;
    spec.forget_bias = 0;
    spec.recurrent_activation = gates;
    const Lstm<float> lstm(spec, {W.data(), R.data(), b.data()});
    const Values x = {0.7f}, c0 = random_values(H, 1, 7), h0(H, 0.0f);
    Values c(H), h(H);
    lstm.step(1, x.data(), c0.data(), h0.data(), c.data(), h.data());
    const auto open = [s = slope](double z) { return std::fmin(1, std::fmax(0, s * z + 0.5)); };
    for (std::size_t u = 0; u < H; ++u) {
      const auto z = [&](std::size_t g) { return static_cast<double>(x[0]) * W[g * H + u] + b[g * H + u]; };
      const double c_new = open(z(2)) * c0[u] + open(z(0)) * std::tanh(z(1));
      check(std::fabs(c[u] - c_new) < 1e-6 && std::fabs(h[u] - open(z(3)) * std::tanh(c_new)) < 1e-6,
            "hard gates of unit " + std::to_string(u));
    }
  }
  LstmSpec spec;
  spec.recurrent_activation = Activation::relu;
  bool refused = false;
  try {
    const Lstm<float> lstm(spec, {});
  } catch (const std::invalid_argument&) {
    refused = true;
  }
  check(refused, "gates that relu opens");
}

}  // namespace

int main() {
  lstmcore::set_num_threads(4);
  test_stack({{make(I, 17, 10), nullptr}}, "one layer");
  test_stack({{make(I, 17, 10), nullptr}, {make(17, 4, 20), nullptr}, {make(4, 9, 30), nullptr}}, "three");
  test_stack({{make(I, 7, 10), make(I, 5, 20)}, {make(12, 6, 30), make(12, 6, 40)}}, "both directions");
  test_stack({{nullptr, make(I, 8, 10)}, {make(8, 3, 20), nullptr}}, "backward below forward");
  test_bad_stacks();
  test_missing_state();
  test_bad_calls();
  test_hard_gates();
  return checks::result();
}
