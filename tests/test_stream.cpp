// Streams and banks of the native core against whole sequences, bit for bit, and what their calls allocate.
// With --short the sequences are short ones, for emulators.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "checks.h"
#include "counted_memory.h"
#include "lstmcore/lstm.h"
#include "lstmcore/stream.h"
#include "lstmcore/stream_bank.h"

namespace {

using checks::check;
using checks::Random;
using lstmcore::Layers;
using lstmcore::LstmSpec;
using lstmcore::Stream;
using lstmcore::StreamBank;
using std::int64_t;

struct LayerSize {
  int64_t H;
  std::optional<int64_t> P;
  bool peepholes;
};

template <class T>
Layers<T> layers_of(int64_t I, const std::vector<LayerSize>& sizes) {
  Random random(4711);
  Layers<T> layers;
  for (const LayerSize& size : sizes) {
    LstmSpec spec;
    spec.input_size = I;
    spec.num_units = size.H;
    spec.num_proj = size.P;
    spec.peepholes = size.peepholes;
    spec.forget_bias = 0.75;
    if (size.peepholes) spec.cell_clip = 0.9;
    if (size.P) spec.proj_clip = 0.4;
    const int64_t H = size.H, P = spec.output_size();
    const double scale = 1.5 / std::sqrt(static_cast<double>(I + P));
    const auto W = random.array<T>(I * 4 * H, scale), R = random.array<T>(P * 4 * H, scale);
    const auto b = random.array<T>(4 * H), p = random.array<T>(3 * H),
               projection = random.array<T>(H * P, scale);
    layers.push_back(std::make_shared<const lstmcore::Lstm<T>>(
        spec, lstmcore::LstmWeights<T>{W.data(), R.data(), b.data(), p.data(), p.data() + H, p.data() + 2 * H,
                                       projection.data()}));
    I = P;
  }
  return layers;
}

// The whole sequence x [T, N, I] layer by layer: outputs [T, N, P], and the last states [N, S].
template <class T>
std::pair<std::vector<T>, std::vector<T>> whole(const Layers<T>& layers, int64_t steps, int64_t N,
                                                std::vector<T> x, const std::vector<T>& states) {
  int64_t S = 0, offset = 0;
  for (const auto& layer : layers) S += layer->spec().num_units + layer->spec().output_size();
  std::vector<T> last(states);
  for (const auto& layer : layers) {
    const int64_t I = layer->spec().input_size, H = layer->spec().num_units, P = layer->spec().output_size();
    std::vector<T> c, h, y(static_cast<std::size_t>(steps * N * P));
    for (int64_t n = 0; n < N; ++n) {
      const auto row = states.begin() + n * S + offset;
      c.insert(c.end(), row, row + H);
      h.insert(h.end(), row + H, row + H + P);
    }
    lstmcore::ForwardArgs<T> args;
    args.steps = steps;
    args.batch = N;
    args.x = {x.data(), N * I, I};
    args.c0 = args.c_n = c.data();
    args.h0 = args.h_n = h.data();
    args.y = {y.data(), N * P, P};
    layer->forward(args);
    for (int64_t n = 0; n < N; ++n) {
      std::copy_n(c.begin() + n * H, H, last.begin() + n * S + offset);
      std::copy_n(h.begin() + n * P, P, last.begin() + n * S + offset + H);
    }
    x = std::move(y);
    offset += H + P;
  }
  return {std::move(x), std::move(last)};
}

template <class T>
std::vector<T> states_of(const Stream<T>& stream) {
  std::vector<T> states(static_cast<std::size_t>(stream.rows() * stream.state_size()));
  for (int64_t n = 0; n < stream.rows(); ++n) stream.read_state(n, states.data() + n * stream.state_size());
  return states;
}

const struct {
  const char* name;
  int64_t I;
  std::vector<LayerSize> layers;
} kModels[] = {
    {"one layer", 3, {{5, {}, true}}},
    {"projection", 19, {{33, 7, true}}},
    {"two layers", 8, {{16, {}, false}, {31, {}, true}}},
    {"three layers", 5, {{17, 9, true}, {40, 6, false}, {13, {}, false}}},
    {"wide", 60, {{129, {}, false}, {200, 40, true}}},
};

// Steps and pushes in turn; pushes are long enough for several blocks.
template <class T>
void test_stream_equals_whole_sequence(int64_t steps) {
  for (const auto& model : kModels) {
    const Layers<T> layers = layers_of<T>(model.I, model.layers);
    for (const int64_t N : {1, 4, 23}) {
      const int64_t P = layers.back()->spec().output_size();
      Stream<T> stream(layers, N);
      Random random(4711);
      const auto x = random.array<T>(steps * N * model.I, 2),
                 start = random.array<T>(N * stream.state_size());
      const auto expected = whole<T>(layers, steps, N, x, start);
      for (int64_t n = 0; n < N; ++n) stream.write_state(n, start.data() + n * stream.state_size());
      std::vector<T> out(expected.first.size());
      for (int64_t t = 0, turn = 0; t < steps; ++turn) {
        const int64_t lengths[] = {1, 0, 7, 1, 551, 2};
        const int64_t length = std::min(lengths[turn % 6], steps - t);
        const T* from = x.data() + t * N * model.I;
        T* to = out.data() + t * N * P;
        if (length == 1)
          stream.step(from, to);
        else
          stream.push(length, {from, N * model.I, model.I}, {to, N * P, P});
        t += length;
      }
      check(out == expected.first, std::string(model.name) + ": outputs of a stream");
      check(states_of(stream) == expected.second, std::string(model.name) + ": state of a stream");
    }
  }
}

template <class T>
void test_copies_are_independent() {
  const auto& model = kModels[2];
  const Layers<T> layers = layers_of<T>(model.I, model.layers);
  Stream<T> stream(layers, 2);
  Random random(4711);
  const auto x = random.array<T>(6 * 2 * model.I, 2);
  const int64_t step = 2 * model.I, P = stream.output_size();
  std::vector<T> first(static_cast<std::size_t>(2 * P)), second(first), third(first);
  stream.step(x.data(), first.data());
  Stream<T> copy(stream);
  stream.step(x.data() + step, first.data());
  copy.step(x.data() + 2 * step, third.data());
  check(first != third, "a copy sees other inputs");
  Stream<T> again(layers, 2);
  again.step(x.data(), second.data());
  again.step(x.data() + 2 * step, second.data());
  check(second == third && states_of(copy) == states_of(again), "a copy goes on from the state it copied");
  again.reset();
  check(states_of(again) == std::vector<T>(static_cast<std::size_t>(2 * again.state_size())), "reset");
}

// Streams that join, leave and advance in random subsets, each against a stream of its own.
template <class T>
void test_bank_equals_streams_alone() {
  for (const auto& model : kModels) {
    const Layers<T> layers = layers_of<T>(model.I, model.layers);
    StreamBank<T> bank(layers, 2);
    const int64_t I = bank.input_size(), P = bank.output_size(), S = bank.state_size();
    std::vector<std::pair<int64_t, Stream<T>>> alone;
    Random random(4711);
    std::uint32_t dice = 1;
    const auto roll = [&](std::size_t sides) {
      dice = dice * 1664525u + 1013904223u;
      return static_cast<std::size_t>(dice >> 8) % sides;
    };
    bool same = true;
    for (int round = 0; round < 60; ++round) {
      if (alone.size() < 3 || roll(3) == 0) {
        const auto start = random.array<T>(S);
        alone.emplace_back(bank.join(start.data()), Stream<T>(layers, 1));
        alone.back().second.write_state(0, start.data());
      } else if (roll(4) == 0) {
        const auto at = alone.begin() + static_cast<std::ptrdiff_t>(roll(alone.size()));
        bank.leave(at->first);
        alone.erase(at);
      }
      std::vector<std::size_t> chosen(alone.size());
      for (std::size_t k = 0; k < chosen.size(); ++k) chosen[k] = k;
      const bool all = roll(3) == 0;
      if (!all) {
        for (std::size_t k = chosen.size(); k > 1; --k) std::swap(chosen[k - 1], chosen[roll(k)]);
        chosen.resize(roll(chosen.size() + 1));
      }
      const auto n = static_cast<int64_t>(chosen.size());
      std::vector<int64_t> ids;
      for (const std::size_t k : chosen) ids.push_back(alone[k].first);
      const auto x = random.array<T>(n * I, 2);
      std::vector<T> out(static_cast<std::size_t>(n * P)), expected(out);
      all ? bank.step_all(x.data(), out.data()) : bank.step(n, ids.data(), x.data(), out.data());
      for (int64_t k = 0; k < n; ++k)
        alone[chosen[static_cast<std::size_t>(k)]].second.step(x.data() + k * I, expected.data() + k * P);
      same = same && out == expected && bank.size() == static_cast<int64_t>(alone.size());
    }
    for (const auto& [id, stream] : alone)
      same = same && std::memcmp(bank.state(id), states_of(stream).data(),
                                 static_cast<std::size_t>(S) * sizeof(T)) == 0;
    check(same, std::string(model.name) + ": a bank and its streams alone");
  }
}

void test_steps_allocate_nothing() {
  for (const auto& model : kModels) {
    const Layers<float> layers = layers_of<float>(model.I, model.layers);
    const int64_t N = 3, T = 5, P = layers.back()->spec().output_size();
    Stream<float> stream(layers, N);
    StreamBank<float> bank(layers, N);
    const int64_t ids[] = {bank.join(), bank.join(), bank.join()};
    const std::vector<float> x(static_cast<std::size_t>(T * N * 300), 0.5f);
    std::vector<float> out(x.size());
    const auto step = [&] { stream.step(x.data(), out.data()); };
    const auto push = [&] { stream.push(T, {x.data(), N * model.I, model.I}, {out.data(), N * P, P}); };
    const auto step_all = [&] { bank.step_all(x.data(), out.data()); };
    const auto step_some = [&] { bank.step(2, ids + 1, x.data(), out.data()); };
    step(), push(), step_all();  // take what later ones use again
    const std::string name = std::string(model.name) + ": allocations of ";
    check(counted::requests_of(step) == 0, name + "step");
    check(counted::requests_of(push) == 0, name + "push");
    check(counted::requests_of(step_all) == 0, name + "step_all");
    check(counted::requests_of(step_some) == 0, name + "a bank's step");
  }
}

// Whichever allocation of a step or push fails, the stream and the bank go on as if it had not been tried.
void test_failed_allocations_change_no_state() {
  const auto& model = kModels[3];
  const Layers<float> layers = layers_of<float>(model.I, model.layers);
  const int64_t N = 2, T = 3, P = layers.back()->spec().output_size();
  Random random(4711);
  const auto x = random.array<float>(T * N * model.I);
  std::vector<float> out(static_cast<std::size_t>(T * N * P)), expected(out);
  Stream<float> first(layers, N);
  StreamBank<float> bank(layers);
  bank.join();
  bank.join();
  first.step(x.data(), out.data());
  bank.step_all(x.data(), out.data());
  Stream<float> twin(first);
  twin.push(T, {x.data(), N * model.I, model.I}, {expected.data(), N * P, P});
  int64_t failed = 0;
  const auto fails = [&](int64_t after, const auto& call) {
    const bool failure = counted::with_failure(after, false, call).threw;
    failed += failure;
    return failure;
  };
  const auto push = [&](Stream<float>& stream) {
    stream.push(T, {x.data(), N * model.I, model.I}, {out.data(), N * P, P});
  };
  for (int64_t after = 0;; ++after) {
    Stream<float> stream(first);
    if (!fails(after, [&] { push(stream); })) break;
    push(stream);
    check(out == expected && states_of(stream) == states_of(twin), "a push after one that failed");
  }
  first.step(x.data(), expected.data());
  for (int64_t after = 0; fails(after, [&] { bank.step_all(x.data(), out.data()); }); ++after) continue;
  check(std::equal(out.begin(), out.begin() + N * P, expected.begin()),
        "a bank's step after those that failed");
  for (int64_t after = 0; fails(after, [&] { bank.join(); }) || bank.size() < 20; after = (after + 1) % 5)
    continue;
  check(bank.id(bank.size() - 1) == 19, "joins after those that failed");
  check(failed > 3, "allocations failed");
}

template <class Error, class Call>
void expect(const Call& call, const char* what) {
  try {
    call();
  } catch (const Error&) {
    return;
  }
  check(false, std::string("expected an exception: ") + what);
}

void test_bad_arguments() {
  const Layers<float> layers = layers_of<float>(3, {{5, {}, false}});
  expect<std::invalid_argument>([] { Stream<float>({}, 1); }, "no layers");
  expect<std::invalid_argument>([] { Stream<float>({nullptr}, 1); }, "a null layer");
  expect<std::invalid_argument>([&] { Stream<float>({layers[0], layers[0]}, 1); }, "widths that differ");
  expect<std::invalid_argument>([&] { Stream<float>(layers, -1); }, "negative rows");
  expect<std::length_error>([&] { Stream<float>(layers, int64_t{1} << 62); }, "too many rows");
  Stream<float> stream(layers, 1);
  expect<std::invalid_argument>([&] { stream.push(-1, {}, {}); }, "negative steps");

  StreamBank<float> bank(layers);
  check(bank.join() == 0 && bank.join() == 1 && bank.join() == 2, "ids count up");
  bank.leave(1);
  check(bank.join() == 3 && bank.size() == 3 && bank.id(1) == 2, "ids are not given twice");
  const std::vector<float> x(12, 0.5f);
  std::vector<float> out(20);
  const auto step = [&](std::vector<int64_t> ids) {
    return [&, ids] { bank.step(static_cast<int64_t>(ids.size()), ids.data(), x.data(), out.data()); };
  };
  expect<std::out_of_range>(step({0, 1}), "a stream that left");
  expect<std::invalid_argument>(step({0, 2, 0}), "a stream twice");
  expect<std::invalid_argument>(step({0, 2, 3, 3}), "more rows than streams");
  expect<std::out_of_range>([&] { bank.leave(1); }, "leaving twice");
  expect<std::out_of_range>([&] { bank.set_state(-1, x.data()); }, "no such stream");
  expect<std::invalid_argument>([&] { StreamBank<float>(layers, -1); }, "negative capacity");
  for (const int64_t id : {0, 2, 3}) check(bank.state(id)[0] == 0, "a refused step changes no state");
  step({3, 0})();
  check(bank.state(0)[0] != 0 && bank.state(2)[0] == 0, "a refused step leaves the bank usable");
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t steps = argc > 1 && std::string(argv[1]) == "--short" ? 40 : 700;
  test_stream_equals_whole_sequence<float>(steps);
  test_stream_equals_whole_sequence<double>(steps);
  test_copies_are_independent<float>();
  test_bank_equals_streams_alone<float>();
  test_bank_equals_streams_alone<double>();
  test_steps_allocate_nothing();
  test_failed_allocations_change_no_state();
  test_bad_arguments();
  return checks::result();
}
