// What happens where the system has no more memory: std::bad_alloc, after which everything is as it was.
// Sizes that overflow are refused before anything is taken.
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "checks.h"
#include "counted_memory.h"
#include "lstmcore/runtime.h"
#include "lstmcore/stack.h"
#include "lstmcore/stream.h"
#include "lstmcore/stream_bank.h"
#include "memory_problems.h"

namespace {

using checks::check;
using checks::random_values;
using checks::Values;
using lstmcore::ForwardArgs;
using lstmcore::Layers;
using lstmcore::Lstm;
using lstmcore::LstmSpec;
using memory_problems::Call;
using memory_problems::layer;
using memory_problems::Stack;
using memory_problems::Weights;
using std::int64_t;

// That the rest of this file can fail.
void test_failing() {
  void* volatile kept = nullptr;
  const counted::Outcome outcome = counted::with_failure(0, false, [&] { kept = ::operator new(100); });
  check(outcome.threw && outcome.reached, "a request that is to fail");
}

// Calls `attempt` with one request after the other failing, alone and with all after it, until none did.
// Returns how many attempts failed.
template <class Attempt, class Unchanged>
int64_t sweep(const std::string& what, const Attempt& attempt, const Unchanged& unchanged) {
  int64_t failed = 0;
  for (const bool all : {false, true})
    for (int64_t number = 0;; ++number) {
      lstmcore::trim();
      const counted::Outcome outcome = counted::with_failure(number, all, attempt);
      if (!outcome.reached) break;
      if (!outcome.threw) continue;  // it did without, as with fewer threads
      ++failed;
      check(unchanged(), what + ": changed by an attempt that failed, request " + std::to_string(number));
    }
  return failed;
}

void test_failed_construction() {
  // Large enough to be packed by threads. There are more of them each time, so that some have to start.
  const Weights weights(800, 350, 90, 3);
  int threads = 1;
  const int64_t failed = sweep(
      "construction",
      [&] {
        lstmcore::set_num_threads(++threads);
        weights.packed();
      },
      [] { return true; });
  check(failed >= 2 * 5, "construction: " + std::to_string(failed) + " attempts failed");
  sigset_t blocked;
  pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
  check(!sigismember(&blocked, SIGINT), "a thread that could not start leaves signals as they were");
  lstmcore::set_num_threads(4);
  const Lstm<float> lstm = weights.packed(), again = weights.packed();
  Call call(lstm, 6, 8), other(lstm, 6, 8);
  lstm.forward(call.args());
  again.forward(other.args());
  check(call.y == other.y, "a layer that was constructed after failures");
}

void test_failed_calls() {
  lstmcore::set_num_threads(4);
  for (const std::optional<int64_t> P : {std::optional<int64_t>(), std::optional<int64_t>(60)}) {
    const auto lstm = layer(70, 200, P);
    Call call(*lstm, 9, 3), other(*lstm, 9, 3), expected(*lstm, 9, 3);
    const auto same = [&](Call& of) { return of.c == of.c0 && of.h == of.h0; };
    const auto two = [&](Call& a, Call& b) {
      const lstmcore::ForwardCall<float> calls[2] = {{lstm.get(), a.args(true)}, {lstm.get(), b.args(true)}};
      lstmcore::forward_all(calls, 2);
    };
    lstm->forward(expected.args());
    int64_t failed =
        sweep("forward", [&] { call.restore(), lstm->forward(call.args()); }, [&] { return same(call); });
    check(failed > 0 && call.y == expected.y && call.c == expected.c && call.h == expected.h,
          "forward after " + std::to_string(failed) + " that failed");
    expected.restore(), other.restore();
    two(expected, other);
    failed = sweep(
        "forward_all", [&] { call.restore(), other.restore(), two(call, other); },
        [&] { return same(call) && same(other); });
    check(failed > 2 && call.y == expected.y && other.y == expected.y && call.c == expected.c,
          "forward_all after " + std::to_string(failed) + " that failed");
    const auto step = [&](Call& of) {
      of.restore();
      lstm->step(3, of.x.data(), of.c.data(), of.h.data(), of.c.data(), of.y.data());
    };
    step(expected);
    failed = sweep("step", [&] { step(call); }, [&] { return same(call); });
    check(failed == (P ? 2 : 0) && call.c == expected.c,
          "step after " + std::to_string(failed) + " that failed");
  }
}

void test_failed_stacks() {
  Stack expected(8, 4, 130), stack(8, 4, 130);
  const std::vector<Values> start = stack.states;
  expected.run();
  const auto reset = [&] {
    for (std::size_t k = 0; k < start.size(); ++k)
      std::copy(start[k].begin(), start[k].end(), stack.states[k].begin());
  };
  const int64_t failed = sweep("stack", [&] { reset(), stack.run(); }, [&] { return stack.states == start; });
  check(failed > 6 && stack.y == expected.y && stack.states == expected.states,
        "a stack after " + std::to_string(failed) + " that failed");
}

void test_failed_streams() {
  const Layers<float> layers = {layer(12, 130, 20), layer(20, 33, {})};
  const Values x = random_values(40 * 3 * 12, 1, 1);
  Values out(40 * 3 * 33);
  const auto construct = [&] {
    lstmcore::Stream<float> stream(layers, 3), copy(stream);
    copy.step(x.data(), out.data());
    lstmcore::StreamBank<float> bank(layers, 2);
    for (int k = 0; k < 5; ++k) bank.join(x.data());
    bank.step_all(x.data(), out.data());
  };
  const int64_t failed = sweep("streams", construct, [] { return true; });
  check(failed > 20, "streams: " + std::to_string(failed) + " attempts failed");
  lstmcore::StreamBank<float> bank(layers);
  int64_t joined = 0, refused = 0;
  for (int64_t number = 0; joined < 40; number = (number + 1) % 7)
    counted::with_failure(number, true, [&] { bank.join(x.data()); }).threw ? ++refused : ++joined;
  check(refused > 10 && bank.size() == 40 && bank.id(39) == 39, "joins after some that failed");
  lstmcore::StreamBank<float> twin(layers, 40);
  for (int k = 0; k < 40; ++k) twin.join(x.data());
  const int64_t ids[] = {39, 7};
  const auto step = [&](lstmcore::StreamBank<float>& of, Values& to) {
    of.step(2, ids, x.data() + 100, to.data());
  };
  Values again(out);
  check(counted::with_failure(0, true, [&] { step(bank, out); }).threw, "a bank's first step allocates");
  check(std::equal(x.begin(), x.begin() + bank.state_size(), bank.state(39)),
        "a bank's step that failed changes no state");
  step(bank, out);
  step(twin, again);
  check(out == again && std::equal(bank.state(7), bank.state(7) + bank.state_size(), twin.state(7)),
        "a bank's step after one that failed");
}

template <class Error, class Refused>
void expect_at_once(const std::string& what, const Refused& call) {
  counted::largest = 0;
  bool refused = false;
  std::string text;
  try {
    call();
  } catch (const Error& error) {
    refused = true;
    text = error.what();
  }
  const std::size_t largest = counted::largest;
  check(refused && largest < 4096, what + ": expected a refusal, and no more than text allocated, got " +
                                       std::to_string(largest) + " bytes");
  check(text.find(what.substr(0, what.find(' '))) != std::string::npos, what + ": not named in: " + text);
}

void test_sizes_that_overflow() {
  const float any = 0;
  const lstmcore::LstmWeights<float> weights = {&any, &any, &any, &any, &any, &any, &any};
  const auto spec = [](int64_t I, int64_t H, std::optional<int64_t> P = {}) {
    LstmSpec spec;
    spec.input_size = I;
    spec.num_units = H;
    spec.num_proj = P;
    return spec;
  };
  using std::invalid_argument;
  using std::length_error;
  for (const int64_t size :
       {(int64_t{1} << 31) - 1, int64_t{1} << 31, int64_t{1} << 62, INT64_MAX, int64_t{-1}}) {
    expect_at_once<invalid_argument>("input_size", [&] { Lstm<float>(spec(size, 3), weights); });
    expect_at_once<invalid_argument>("num_units", [&] { Lstm<float>(spec(3, size), weights); });
    expect_at_once<invalid_argument>("num_proj", [&] { Lstm<float>(spec(3, 4, size), weights); });
  }
  const int64_t most = lstmcore::kMaxSize;
  expect_at_once<length_error>("num_units and input_size", [&] { Lstm<float>(spec(most, most), weights); });
  expect_at_once<length_error>("num_units and num_proj", [&] { Lstm<float>(spec(1, most, most), weights); });

  const auto lstm = layer(3, 4, {});
  Call call(*lstm, 2, 2);
  const std::vector<std::pair<int64_t, int64_t>> too_large = {{1, int64_t{1} << 62},
                                                              {int64_t{1} << 62, 1},
                                                              {int64_t{1} << 31, int64_t{1} << 31},
                                                              {INT64_MAX, INT64_MAX}};
  for (const auto& [T, N] : too_large) {
    auto args = call.args();
    args.steps = T;
    args.batch = N;
    const lstmcore::ForwardCall<float> calls[] = {{lstm.get(), call.args()}, {lstm.get(), args}};
    lstmcore::StackArgs<float> stack;
    stack.call = args;
    stack.states = {{nullptr, nullptr, call.c.data(), nullptr}};
    expect_at_once<length_error>("batch of forward", [&] { lstm->forward(args); });
    expect_at_once<length_error>("batch of forward_all", [&] { lstmcore::forward_all(calls, 2); });
    expect_at_once<length_error>("batch of a stack",
                                 [&] { lstmcore::forward_stack({{lstm, nullptr}}, stack); });
    expect_at_once<length_error>("batch of workspace_bytes", [&] { (void)lstm->workspace_bytes(args); });
  }
  expect_at_once<length_error>("batch of step", [&] {
    lstm->step(int64_t{1} << 62, call.x.data(), call.c.data(), call.h.data(), call.c.data(), call.y.data());
  });
  check(call.c == call.c0 && call.h == call.h0, "a refused call changes no state");
  const Layers<float> layers = {lstm};
  for (const int64_t rows : {int64_t{1} << 59, int64_t{1} << 62, INT64_MAX}) {
    expect_at_once<length_error>("rows of a stream", [&] { lstmcore::Stream<float>(layers, rows); });
    expect_at_once<length_error>("rows of a bank", [&] { lstmcore::StreamBank<float>(layers, rows); });
  }
  // Nothing to compute, however often.
  const Lstm<float> nothing(spec(0, 0), {});
  ForwardArgs<float> args;
  args.steps = args.batch = int64_t{1} << 28;
  nothing.forward(args);
}

}  // namespace

int main() {
  test_failing();
  test_failed_calls();
  test_failed_stacks();
  test_failed_streams();
  test_sizes_that_overflow();
  test_failed_construction();
  return checks::result();
}
