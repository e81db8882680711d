// The native core without Python: Lstm<T> against a plain double-precision loop, and its bitwise guarantees.
// With --digest it prints a hash of its results instead, to compare ISA levels and machines.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "checks.h"
#include "cpu/threads.h"
#include "gates.h"
#include "lstmcore/lstm.h"
#include "lstmcore/runtime.h"

namespace {

using checks::check;
using checks::Random;
using lstmcore::Lstm;
using lstmcore::LstmSpec;

template <class T>
struct Case {
  LstmSpec spec;
  std::int64_t T_, N;
  std::vector<T> W, R, b, p_i, p_f, p_o, projection, x, c0, h0;
  std::vector<std::int64_t> lengths;

  Case(LstmSpec s, std::int64_t steps, std::int64_t batch) : spec(s), T_(steps), N(batch) {
    Random random(20181);
    const std::int64_t I = s.input_size, H = s.num_units, P = s.output_size();
    const double scale = 1.5 / std::sqrt(static_cast<double>(I + P));
    W = random.array<T>(I * 4 * H, scale);
    R = random.array<T>(P * 4 * H, scale);
    b = random.array<T>(4 * H);
    p_i = random.array<T>(H);
    p_f = random.array<T>(H);
    p_o = random.array<T>(H);
    projection = random.array<T>(H * P, 1.5 / std::sqrt(static_cast<double>(H)));
    x = random.array<T>(steps * batch * I, 2);
    c0 = random.array<T>(batch * H);
    h0 = random.array<T>(batch * P);
    for (std::int64_t n = 0; n < batch; ++n) lengths.push_back((n * 7 + 3) % (steps + 1));
  }

  Lstm<T> lstm() const {
    lstmcore::LstmWeights<T> weights;
    weights.W = W.data();
    weights.R = R.data();
    weights.b = b.data();
    weights.p_i = p_i.data();
    weights.p_f = p_f.data();
    weights.p_o = p_o.data();
    weights.projection = projection.data();
    return Lstm<T>(spec, weights);
  }
};

template <class T>
struct Result {
  std::vector<T> y, c_n, h_n;
  bool operator==(const Result& other) const { return y == other.y && c_n == other.c_n && h_n == other.h_n; }
};

template <class T>
Result<T> forward(const Case<T>& k, const Lstm<T>& lstm, int threads, bool reverse) {
  const std::int64_t I = k.spec.input_size, H = k.spec.num_units, P = k.spec.output_size();
  Result<T> result{std::vector<T>(static_cast<std::size_t>(k.T_ * k.N * P)),
                   std::vector<T>(static_cast<std::size_t>(k.N * H)),
                   std::vector<T>(static_cast<std::size_t>(k.N * P))};
  lstmcore::ForwardArgs<T> args;
  args.steps = k.T_;
  args.batch = k.N;
  args.x = {k.x.data(), k.N * I, I};
  args.c0 = k.c0.data();
  args.h0 = k.h0.data();
  args.lengths = k.lengths.data();
  args.reverse = reverse;
  args.y = {result.y.data(), k.N * P, P};
  args.c_n = result.c_n.data();
  args.h_n = result.h_n.data();
  args.threads = threads;
  lstm.forward(args);
  return result;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double clipped(double x, const std::optional<double>& limit) {
  return limit ? std::max(-*limit, std::min(*limit, x)) : x;
}

// One row, one step, in double precision, straight from the equations.
template <class T>
void reference_step(const Case<T>& k, const T* x, std::vector<double>& c, std::vector<double>& h) {
  const auto I = k.spec.input_size, H = k.spec.num_units, P = k.spec.output_size();
  std::vector<double> m(static_cast<std::size_t>(H)), c_new(c);
  for (std::int64_t u = 0; u < H; ++u) {
    double z[4];
    for (int g = 0; g < 4; ++g) {
      const std::int64_t column = g * H + u;
      z[g] = k.b[column];
      for (std::int64_t i = 0; i < I; ++i) z[g] += static_cast<double>(x[i]) * k.W[i * 4 * H + column];
      for (std::int64_t p = 0; p < P; ++p) z[g] += h[p] * k.R[p * 4 * H + column];
    }
    const double peep = k.spec.peepholes ? 1 : 0;
    const double i = sigmoid(z[0] + peep * k.p_i[u] * c[u]);
    const double f = sigmoid(z[2] + k.spec.forget_bias + peep * k.p_f[u] * c[u]);
    c_new[u] = clipped(f * c[u] + i * std::tanh(z[1]), k.spec.cell_clip);
    m[u] = sigmoid(z[3] + peep * k.p_o[u] * c_new[u]) * std::tanh(c_new[u]);
  }
  c = c_new;
  if (!k.spec.num_proj) {
    h = m;
    return;
  }
  for (std::int64_t p = 0; p < P; ++p) {
    double sum = 0;
    for (std::int64_t u = 0; u < H; ++u) sum += m[u] * k.projection[u * P + p];
    h[p] = clipped(sum, k.spec.proj_clip);
  }
}

template <class T>
double error_against_reference(const Case<T>& k, const Result<T>& result, bool reverse) {
  const auto I = k.spec.input_size, H = k.spec.num_units, P = k.spec.output_size();
  double worst = 0;
  const auto compare = [&](double expected, T got) { worst = std::max(worst, std::fabs(expected - got)); };
  for (std::int64_t n = 0; n < k.N; ++n) {
    std::vector<double> c(k.c0.begin() + n * H, k.c0.begin() + (n + 1) * H);
    std::vector<double> h(k.h0.begin() + n * P, k.h0.begin() + (n + 1) * P);
    for (std::int64_t s = 0; s < k.T_; ++s) {
      if (s >= k.lengths[n]) {
        for (std::int64_t p = 0; p < P; ++p) compare(0, result.y[(s * k.N + n) * P + p]);
        continue;
      }
      const std::int64_t t = reverse ? k.lengths[n] - 1 - s : s;
      reference_step(k, k.x.data() + (t * k.N + n) * I, c, h);
      for (std::int64_t p = 0; p < P; ++p) compare(h[p], result.y[(t * k.N + n) * P + p]);
    }
    for (std::int64_t u = 0; u < H; ++u) compare(c[u], result.c_n[n * H + u]);
    for (std::int64_t p = 0; p < P; ++p) compare(h[p], result.h_n[n * P + p]);
  }
  return worst;
}

// Every row alone, one step at a time, gives the same bits as the batch.
template <class T>
bool rows_alone_agree(const Case<T>& k, const Lstm<T>& lstm, const Result<T>& batch) {
  const auto I = k.spec.input_size, H = k.spec.num_units, P = k.spec.output_size();
  for (std::int64_t n = 0; n < k.N; ++n) {
    std::vector<T> c(k.c0.begin() + n * H, k.c0.begin() + (n + 1) * H);
    std::vector<T> h(k.h0.begin() + n * P, k.h0.begin() + (n + 1) * P), h_next(h);
    for (std::int64_t t = 0; t < k.lengths[n]; ++t) {
      lstm.step(1, k.x.data() + (t * k.N + n) * I, c.data(), h.data(), c.data(), h_next.data());
      h.swap(h_next);
      if (P > 0 && std::memcmp(h.data(), batch.y.data() + (t * k.N + n) * P, h.size() * sizeof(T)) != 0)
        return false;
    }
    if (H > 0 && std::memcmp(c.data(), batch.c_n.data() + n * H, c.size() * sizeof(T)) != 0) return false;
  }
  return true;
}

LstmSpec spec_of(std::int64_t I, std::int64_t H, std::optional<std::int64_t> P, bool peepholes) {
  LstmSpec spec;
  spec.input_size = I;
  spec.num_units = H;
  spec.num_proj = P;
  spec.peepholes = peepholes;
  spec.forget_bias = 0.75;
  if (peepholes) spec.cell_clip = 0.9;
  if (P) spec.proj_clip = 0.4;
  return spec;
}

const LstmSpec kSpecs[] = {
    spec_of(1, 1, {}, false),     spec_of(3, 5, {}, true),   spec_of(19, 33, {}, true),
    spec_of(2, 0, 7, true),       spec_of(0, 17, 6, false),  spec_of(40, 64, 71, true),
    spec_of(300, 129, {}, false), spec_of(530, 48, 9, true),
};

template <class T>
void test_specs(double bound) {
  for (const LstmSpec& spec : kSpecs) {
    const Case<T> k(spec, 7, 23);
    const Lstm<T> lstm = k.lstm();
    const std::string name = "I " + std::to_string(spec.input_size) + " H " + std::to_string(spec.num_units);
    for (const bool reverse : {false, true}) {
      const Result<T> serial = forward(k, lstm, 1, reverse);
      const double error = error_against_reference(k, serial, reverse);
      check(error <= bound, name + ": error " + std::to_string(error));
      for (int threads : {2, 3, 5}) check(forward(k, lstm, threads, reverse) == serial, name + ": threads");
      if (!reverse) check(rows_alone_agree(k, lstm, serial), name + ": rows alone");
    }
  }
}

// Without y, and with every cell state and gate asked for, the final states are the same bits.
void test_optional_outputs() {
  for (const LstmSpec& spec : {spec_of(19, 33, {}, true), spec_of(40, 64, 71, true)}) {
    const Case<float> k(spec, 7, 23);
    const Lstm<float> lstm = k.lstm();
    const std::int64_t H = spec.num_units, P = spec.output_size(), size = k.T_ * k.N * H;
    for (const bool reverse : {false, true}) {
      const Result<float> expected = forward(k, lstm, 1, reverse);
      Result<float> got = {expected.y, std::vector<float>(expected.c_n.size()),
                           std::vector<float>(expected.h_n.size())};
      lstmcore::ForwardArgs<float> args;
      args.steps = k.T_;
      args.batch = k.N;
      args.x = {k.x.data(), k.N * spec.input_size, spec.input_size};
      args.c0 = k.c0.data();
      args.h0 = k.h0.data();
      args.lengths = k.lengths.data();
      args.reverse = reverse;
      args.c_n = got.c_n.data();
      args.h_n = got.h_n.data();
      for (const int threads : {1, 3}) {
        args.threads = threads;
        lstm.forward(args);
        check(got == expected, "without y");
      }
      if (spec.num_proj) continue;
      std::vector<float> y(expected.y.size()), cells(size), i(size), f(size), o(size), ci(size), co(size);
      args.y = {y.data(), k.N * P, P};
      args.c_seq = {cells.data(), k.N * H, H};
      args.gates = {i.data(), f.data(), o.data(), ci.data(), co.data()};
      lstm.forward(args);
      check(y == expected.y && got == expected, "with gates");
      for (std::int64_t at = 0; at < size; ++at) {
        const bool past = (at / H / k.N) >= k.lengths[(at / H) % k.N];
        const float h = o[at] * co[at], c = std::min(0.9f, std::max(-0.9f, cells[at]));
        check(past ? cells[at] == 0 : (h == y[at] && c == cells[at]), "gates belong to their step");
      }
    }
  }
}

// min with the upper bound first, then max with the lower: a negative limit gives its absolute value
// everywhere. A NaN limit poisons, whichever clip it is.
void test_clip_limits() {
  const double nan = std::nan("");
  for (const bool projected : {false, true}) {
    LstmSpec spec = spec_of(3, 5, projected ? std::optional<std::int64_t>(4) : std::nullopt, true);
    (projected ? spec.proj_clip : spec.cell_clip) = -0.25;
    const Case<float> k(spec, 2, 3);
    const Result<float> negative = forward(k, k.lstm(), 1, false);
    check((projected ? negative.h_n : negative.c_n).back() == 0.25f, "clip: negative limit");
    (projected ? spec.proj_clip : spec.cell_clip) = nan;
    const Case<float> poisoned(spec, 2, 3);
    check(std::isnan(forward(poisoned, poisoned.lstm(), 1, false).h_n.back()), "clip: NaN limit");
  }
}

// Large work gets threads, small work stays on the caller's; without this, equality over threads would say
// little.
void test_thread_plans() {
  using lstmcore::cpu::plan_threads;
  using lstmcore::cpu::Split;
  check(plan_threads(8, 4 * 64 * 128, 1, 1, 6, 4).threads == 1, "plan: a small step");
  const auto batch = plan_threads(8, 50.0 * 64 * 4 * 128 * 256, 50, 64, 6, 8);
  check(batch.threads == 8 && batch.split == Split::rows, "plan: a batch splits rows");
  const auto stream = plan_threads(8, 100 * 4.0 * 256 * 512, 100, 1, 6, 16);
  check(stream.threads == 8 && stream.split == Split::units, "plan: one row splits units");
  check(plan_threads(2, 50.0 * 64 * 4 * 128 * 256, 50, 64, 6, 8).threads == 2, "plan: the limit holds");
}

// The gate header serves scalars too, with the same operations as a vector lane.
void test_scalar_gates() {
  lstmcore::Gates<float> gates = {0.3f, -1.2f, 2.5f, 0.8f};
  lstmcore::CellOptions<float> options = {};
  options.activation = lstmcore::Activation::tanh;
  options.peepholes = true;
  options.p_i = 0.5f, options.p_f = -0.25f, options.p_o = 1.5f;
  options.clip = true, options.clip_limit = 0.6f;
  const auto state = lstmcore::lstm_cell(gates, -0.7f, options);
  const double c =
      std::max(-0.6, sigmoid(2.5 + 0.25 * 0.7) * -0.7 + sigmoid(0.3 - 0.5 * 0.7) * std::tanh(-1.2));
  check(std::fabs(state.c - c) < 2e-7, "scalar gates: c");
  check(std::fabs(state.h - sigmoid(0.8 + 1.5 * c) * std::tanh(c)) < 2e-7, "scalar gates: h");
}

template <class Call>
void expect_invalid(const Call& call, const char* message) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    check(std::strstr(error.what(), message),
          std::string("expected '") + message + "', got '" + error.what() + "'");
    return;
  }
  check(false, std::string("expected std::invalid_argument: ") + message);
}

// What may be missing is not computed with; what may not is named before anything is written.
void test_missing_pointers() {
  const Case<float> k(spec_of(19, 33, 7, true), 7, 23);
  const Lstm<float> lstm = k.lstm();
  const std::int64_t I = 19, H = 33, P = 7;
  const Result<float> expected = forward(k, lstm, 1, false);
  Result<float> got = {std::vector<float>(expected.y.size(), 9), std::vector<float>(expected.c_n.size(), 9),
                       std::vector<float>(expected.h_n.size(), 9)};
  const Result<float> untouched = got;
  lstmcore::ForwardArgs<float> all;
  all.steps = k.T_;
  all.batch = k.N;
  all.x = {k.x.data(), k.N * I, I};
  all.c0 = k.c0.data();
  all.h0 = k.h0.data();
  all.lengths = k.lengths.data();
  all.y = {got.y.data(), k.N * P, P};
  all.c_n = got.c_n.data();
  all.h_n = got.h_n.data();
  auto args = all;
  args.c_n = nullptr;
  expect_invalid([&] { lstm.forward(args); }, "c_n is missing");
  const lstmcore::ForwardCall<float> calls[] = {{&lstm, all}, {&lstm, args}};
  expect_invalid([&] { lstmcore::forward_all(calls, 2); }, "c_n is missing");
  args = all;
  args.x.data = nullptr;
  expect_invalid([&] { lstm.forward(args); }, "x is missing");
  check(got == untouched, "missing pointers: nothing is written");
  args = all;
  args.h_n = nullptr;
  for (const bool with_y : {true, false}) {
    if (!with_y) args.y = {};
    got = untouched;
    lstm.forward(args);
    check(got.c_n == expected.c_n && got.h_n == untouched.h_n, "without h_n");
    check(got.y == (with_y ? expected.y : untouched.y), "without h_n: y");
  }
  std::vector<float> c(H), h(P);
  expect_invalid([&] { lstm.step(1, k.x.data(), nullptr, nullptr, nullptr, h.data()); }, "c_out is missing");
  expect_invalid([&] { lstm.step(1, k.x.data(), nullptr, nullptr, c.data(), nullptr); }, "h_out is missing");
  expect_invalid([&] { lstm.step(1, nullptr, nullptr, nullptr, c.data(), h.data()); }, "x is missing");
  lstm.step(0, nullptr, nullptr, nullptr, nullptr, nullptr);  // has nothing to do

  const Case<float> plain(spec_of(3, 5, {}, false), 2, 3);
  const Lstm<float> without_projection = plain.lstm();
  std::vector<float> cells(3 * 5), gate(2 * 3 * 5);
  lstmcore::ForwardArgs<float> some;
  some.steps = 2;
  some.batch = 3;
  some.x = {plain.x.data(), 3 * 3, 3};
  some.c_n = cells.data();
  some.gates.f = gate.data();
  expect_invalid([&] { without_projection.forward(some); },
                 "gates: expected all of i, f, o, ci and co, or none");
}

void test_bad_arguments() {
  expect_invalid([] { Lstm<float>(spec_of(-1, 4, {}, false), {}); }, "input_size must be in 0..");
  expect_invalid([] { Lstm<float>(spec_of(3, 4, {}, false), {}); }, "b is missing");
  Case<float> k(spec_of(3, 5, {}, true), 2, 3);
  for (const int number : {-1, static_cast<int>(lstmcore::Activation::silu) + 1}) {
    Case<float> unknown(k);
    unknown.spec.activation = static_cast<lstmcore::Activation>(number);
    expect_invalid([&] { unknown.lstm(); }, "activation is none of lstmcore::Activation");
  }
  const lstmcore::ForwardCall<float> no_layer;
  expect_invalid([&] { lstmcore::forward_all(&no_layer, 1); }, "lstm is missing");
  k.lengths[1] = 9;
  expect_invalid([&] { forward(k, k.lstm(), 1, false); }, "lengths[1] must be in 0..2, got 9");
  expect_invalid([] { lstmcore::set_num_threads(0); }, "threads must be in 1..");
}

template <class T>
std::uint64_t digest(std::uint64_t hash) {  // FNV-1a over all results
  for (const LstmSpec& spec : kSpecs) {
    const Case<T> k(spec, 7, 23);
    const Result<T> result = forward(k, k.lstm(), 1, false);
    for (const std::vector<T>* values : {&result.y, &result.c_n, &result.h_n}) {
      const auto* bytes = reinterpret_cast<const unsigned char*>(values->data());
      for (std::size_t n = 0; n < values->size() * sizeof(T); ++n) hash = (hash ^ bytes[n]) * 1099511628211u;
    }
  }
  return hash;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "--digest") {
    const std::uint64_t hash = digest<double>(digest<float>(14695981039346656037u));
    std::printf("%s %016llx\n", lstmcore::current_isa().c_str(), static_cast<unsigned long long>(hash));
    return 0;
  }
  lstmcore::set_num_threads(5);  // more than the machine may have: the split must not change a bit
  test_specs<float>(1.5e-6);
  test_specs<double>(1e-14);
  test_optional_outputs();
  test_clip_limits();
  test_thread_plans();
  test_scalar_gates();
  test_missing_pointers();
  test_bad_arguments();
  return checks::result();
}
