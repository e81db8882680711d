// Many threads at once: shared layers, streams and banks of their own, new layers, and a thread count that
// changes under all of them. Every result is compared bit for bit with the serial one. Meant for a build with
// -fsanitize=thread (.ci/sanitizers), and part of every other.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "checks.h"
#include "lstmcore/runtime.h"
#include "lstmcore/stack.h"
#include "lstmcore/stream.h"
#include "lstmcore/stream_bank.h"

namespace {

using checks::random_values;
using checks::Values;
using lstmcore::ForwardArgs;
using lstmcore::Layers;
using lstmcore::Lstm;
using lstmcore::LstmSpec;
using std::int64_t;

constexpr int64_t T = 30, N = 5, I = 24;
constexpr int64_t kLengths[N] = {30, 7, 0, 29, 30};

std::shared_ptr<const Lstm<float>> make(int64_t inputs, int64_t H, std::optional<int64_t> P, unsigned seed) {
  LstmSpec spec;
  spec.input_size = inputs;
  spec.num_units = H;
  spec.num_proj = P;
  spec.peepholes = true;
  spec.forget_bias = 0.75;
  spec.cell_clip = 1.5;
  const Values W = random_values(inputs * 4 * H, 0.2f, seed),
               R = random_values(spec.output_size() * 4 * H, 0.2f, seed + 1),
               b = random_values(4 * H, 1, seed + 2), p = random_values(H, 1, seed + 3),
               projection = random_values(H * spec.output_size(), 0.3f, seed + 4);
  return std::make_shared<const Lstm<float>>(
      spec, lstmcore::LstmWeights<float>{W.data(), R.data(), b.data(), p.data(), p.data(), p.data(),
                                         projection.data()});
}

// One layer over x [T, N, width] from zeros: y, then c_n and h_n.
Values forward(const Lstm<float>& lstm, const Values& x, const int64_t* lengths, int threads) {
  const LstmSpec& spec = lstm.spec();
  const int64_t H = spec.num_units, P = spec.output_size();
  Values result(static_cast<std::size_t>(T * N * P + N * (H + P)), -7);
  ForwardArgs<float> args;
  args.steps = T;
  args.batch = N;
  args.x = {x.data(), N * spec.input_size, spec.input_size};
  args.lengths = lengths;
  args.y = {result.data(), N * P, P};
  args.c_n = result.data() + T * N * P;
  args.h_n = args.c_n + N * H;
  args.threads = threads;
  lstm.forward(args);
  return result;
}

// What all threads share. The layers are large enough for a call to get threads, and packing too.
struct Shared {
  Layers<float> layers = {make(I, 160, 48, 1), make(48, 40, {}, 10)};
  std::vector<lstmcore::StackLayer<float>> both = {{make(I, 120, {}, 20), make(I, 70, 30, 30)}};
  Values x = random_values(T * N * I, 2, 40);
  Values one, two, stack, packed;

  Shared() {
    one = forward(*layers[0], x, kLengths, 1);
    packed = forward(*make(I, 700, 400, 50), x, nullptr, 1);
    two = forward(*layers[0], x, nullptr, 1);
    two.resize(static_cast<std::size_t>(T * N * 48));
    two = forward(*layers[1], two, nullptr, 1);
    two.resize(static_cast<std::size_t>(T * N * 40));
    stack = run_stack(1);
  }

  Values run_stack(int threads) const {
    const int64_t out = both[0].output_size(), states = N * (both[0].num_units() + out);
    Values result(static_cast<std::size_t>(T * N * out + states), -7);
    lstmcore::StackArgs<float> args;
    float* state = result.data() + T * N * out;
    for (const auto& lstm : {both[0].forward, both[0].backward}) {
      float* const h_n = state + N * lstm->spec().num_units;
      args.states.push_back({nullptr, nullptr, state, h_n});
      state = h_n + N * lstm->spec().output_size();
    }
    args.call.steps = T;
    args.call.batch = N;
    args.call.x = {x.data(), N * I, I};
    args.call.lengths = kLengths;
    args.call.y = {result.data(), N * out, out};
    args.call.threads = threads;
    lstmcore::forward_stack(both, args);
    return result;
  }
};

// Steps and pushes in turn, in another rhythm each time.
bool stream_agrees(const Shared& shared, int round) {
  lstmcore::Stream<float> stream(shared.layers, N);
  Values out(shared.two.size(), -7);
  const int64_t P = stream.output_size();
  for (int64_t t = 0; t < T;) {
    const int64_t length = std::min<int64_t>(T - t, 1 + (t + round) % 4 * 5);
    const float* const from = shared.x.data() + t * N * I;
    float* const to = out.data() + t * N * P;
    if (length == 1)
      stream.step(from, to);
    else
      stream.push(length, {from, N * I, I}, {to, N * P, P});
    t += length;
  }
  return out == shared.two;
}

// Streams that join and leave; each takes part in some steps only, so they are at different times.
bool bank_agrees(const Shared& shared, int round) {
  lstmcore::StreamBank<float> bank(shared.layers, 1);
  const int64_t P = bank.output_size();
  std::vector<int64_t> ids, times(N, 0);
  for (int64_t n = 0; n < N; ++n) ids.push_back(bank.join());
  bank.leave(bank.join());
  for (int64_t turn = 0; turn < 2 * T; ++turn) {
    std::vector<int64_t> chosen, rows;
    Values x;
    for (int64_t n = 0; n < N; ++n) {
      if ((n + turn * 3 + round) % 3 == 0 || times[n] == T) continue;
      chosen.push_back(ids[n]);
      rows.push_back(n);
      const float* const from = shared.x.data() + (times[n] * N + n) * I;
      x.insert(x.end(), from, from + I);
    }
    Values out(chosen.size() * static_cast<std::size_t>(P), -7);
    bank.step(static_cast<int64_t>(chosen.size()), chosen.data(), x.data(), out.data());
    for (std::size_t k = 0; k < rows.size(); ++k) {
      const int64_t n = rows[k], t = times[n]++;
      if (!std::equal(out.begin() + static_cast<int64_t>(k) * P,
                      out.begin() + static_cast<int64_t>(k + 1) * P, shared.two.begin() + (t * N + n) * P))
        return false;
    }
  }
  return true;
}

using Task = std::function<bool(const Shared&, int round)>;
const struct {
  const char* name;
  Task agrees;
} kTasks[] = {
    {"a shared layer",
     [](const Shared& s, int k) { return forward(*s.layers[0], s.x, kLengths, 1 + k % 6) == s.one; }},
    {"both directions", [](const Shared& s, int k) { return s.run_stack(k % 4) == s.stack; }},
    {"a stream", stream_agrees},
    {"a bank", bank_agrees},
    {"a new layer",
     [](const Shared& s, int k) { return forward(*make(I, 700, 400, 50), s.x, nullptr, k % 3) == s.packed; }},
};

}  // namespace

// The argument is how many seconds to go on for; each thread does every task once at least.
int main(int argc, char** argv) {
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::duration<double>(argc > 1 ? std::strtod(argv[1], nullptr) : 2.0);
  lstmcore::set_num_threads(4);
  const Shared shared;
  std::atomic<int> calls{0}, wrong{0}, working{8};
  std::vector<std::thread> threads;
  for (int self = 0; self < 8; ++self)
    threads.emplace_back([&, self] {
      for (int round = 0; round < 5 || std::chrono::steady_clock::now() < end; ++round) {
        const auto& task = kTasks[(self + round) % 5];
        ++calls;
        if (task.agrees(shared, round)) continue;
        ++wrong;
        std::fprintf(stderr, "FAILED: %s\n", task.name);
      }
      --working;
    });
  for (int k = 0; working > 0; ++k) {
    lstmcore::set_num_threads(1 + k % 7);
    if (lstmcore::num_threads() != 1 + k % 7 || lstmcore::num_threads_reason() != "set_num_threads") ++wrong;
    std::this_thread::sleep_for(std::chrono::microseconds(300));
  }
  for (std::thread& thread : threads) thread.join();
  std::fprintf(stderr, "%d tasks in %zu threads, %d wrong\n", calls.load(), threads.size(), wrong.load());
  std::printf("%s: %s\n", lstmcore::current_isa().c_str(), wrong ? "failed" : "all checks passed");
  return wrong ? 1 : 0;
}
