// What calls take from the system: nothing once they are warm, nothing where sizes overflow; and where it has
// no more, std::bad_alloc, after which everything is as it was.
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "counted_memory.h"
#include "lstmcore/runtime.h"
#include "lstmcore/stack.h"
#include "lstmcore/stream.h"
#include "lstmcore/stream_bank.h"

namespace {

using counted::requests_of;
using lstmcore::ForwardArgs;
using lstmcore::Layers;
using lstmcore::Lstm;
using lstmcore::LstmSpec;
using std::int64_t;
using Values = std::vector<float>;

int failures = 0;

void check(bool condition, const std::string& what) {
  if (condition) return;
  ++failures;
  std::fprintf(stderr, "FAILED: %s\n", what.c_str());
}

Values random_values(int64_t size, float scale, unsigned seed) {
  std::mt19937 generator(seed);
  Values values(static_cast<std::size_t>(size));
  for (float& value : values) value = scale * (static_cast<float>(generator() >> 8) / 8388608.0f - 1);
  return values;
}

// That the rest of this file can fail.
void test_counting() {
  void* volatile kept = nullptr;
  check(requests_of([&] { kept = ::operator new(100); }) == 1, "operator new is counted");
  ::operator delete(kept);
  check(requests_of([&] { kept = ::operator new(128, std::align_val_t{64}); }) == 1, "with alignment too");
  ::operator delete(kept, std::align_val_t{64});
  const counted::Outcome outcome = counted::with_failure(0, false, [&] { kept = ::operator new(100); });
  check(outcome.threw && outcome.reached, "a request that is to fail");
}

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

std::shared_ptr<const Lstm<float>> layer(int64_t I, int64_t H, std::optional<int64_t> P, unsigned seed = 1) {
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

// Large enough for several threads; the second call of each kind, on this thread.
void check_warm_calls(const std::string& where) {
  const auto plain = layer(70, 200, {}), projected = layer(70, 200, 60);
  for (const auto& lstm : {plain, projected}) {
    const std::string name = where + (lstm->spec().num_proj ? ", projection: " : ": ") + "requests of ";
    for (const int64_t N : {1, 3, 64}) {
      Call call(*lstm, 9, N), other(*lstm, 9, N);
      Values h_out(call.h.size());
      const auto step = [&] {
        lstm->step(N, call.x.data(), call.c.data(), call.h.data(), call.c.data(), h_out.data());
      };
      const auto forward = [&] { lstm->forward(call.args()); };
      const auto ragged = [&] { lstm->forward(call.args(true)); };
      const auto last_only = [&] {
        auto args = call.args();
        args.y = {};
        args.c0 = args.h0 = nullptr;
        lstm->forward(args);
      };
      const auto two = [&] {
        const lstmcore::ForwardCall<float> calls[2] = {{lstm.get(), call.args()}, {lstm.get(), other.args()}};
        lstmcore::forward_all(calls, 2);
      };
      step(), forward(), ragged(), last_only(), two();
      const int64_t found[] = {requests_of(step), requests_of(forward), requests_of(ragged),
                               requests_of(last_only), requests_of(two)};
      const char* names[] = {"step", "forward", "forward with lengths", "forward without y", "forward_all"};
      for (int k = 0; k < 5; ++k)
        check(found[k] == 0,
              name + names[k] + " at batch " + std::to_string(N) + ": " + std::to_string(found[k]));
    }
  }
}

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

void check_warm_stack(const std::string& where) {
  for (const int64_t H : {5, 130}) {
    Stack stack(8, 4, H);
    stack.run();
    const int64_t found = requests_of([&] { stack.run(); });
    check(found == 0, where + ": requests of a stack: " + std::to_string(found));
  }
}

void check_warm_streams(const std::string& where) {
  const Layers<float> layers = {layer(12, 130, 20), layer(20, 33, {})};
  lstmcore::Stream<float> stream(layers, 3);
  lstmcore::StreamBank<float> bank(layers, 3);
  const int64_t ids[] = {bank.join(), bank.join(), bank.join()};
  const Values x = random_values(40 * 3 * 12, 1, 1);
  Values out(40 * 3 * 33);
  const auto all = [&] {
    stream.step(x.data(), out.data());
    stream.push(40, {x.data(), 36, 12}, {out.data(), 99, 33});
    bank.step_all(x.data(), out.data());
    bank.step(2, ids + 1, x.data(), out.data());
  };
  all();
  check(requests_of(all) == 0, where + ": requests of streams and banks");
}

void test_warm_calls_allocate_nothing() {
  for (const int threads : {1, 4}) {
    lstmcore::set_num_threads(threads);
    const std::string where = std::to_string(threads) + " threads";
    const auto checks = [where](const std::string& thread) {
      check_warm_calls(where + thread);
      check_warm_stack(where + thread);
      check_warm_streams(where + thread);
    };
    checks("");
    std::thread([&] { checks(", another thread"); }).join();
  }
  // All at once, each of them warm.
  const auto lstm = layer(70, 200, 60);
  std::vector<std::thread> callers;
  std::atomic<int> ready{0};
  std::atomic<bool> go{false};
  std::atomic<int> done{0};
  std::atomic<bool> end{false};
  for (int caller = 0; caller < 6; ++caller)
    callers.emplace_back([&] {
      Call call(*lstm, 9, 3);
      const auto work = [&](int calls) {
        for (int k = 0; k < calls; ++k) {
          lstm->forward(call.args());
          lstm->step(3, call.x.data(), call.c.data(), call.h.data(), call.c.data(), call.y.data());
        }
      };
      work(100);
      ++ready;
      while (!go) std::this_thread::yield();
      work(100);
      ++done;
      while (!end) std::this_thread::yield();
    });
  while (ready < 6) std::this_thread::yield();
  const int64_t found = requests_of([&] {
    go = true;
    while (done < 6) std::this_thread::yield();
  });
  end = true;
  for (std::thread& caller : callers) caller.join();
  // Two that begin to look at the same place may take one more, once.
  check(found <= 6, "requests of 6 threads at once: " + std::to_string(found));
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

void test_workspaces() {
  lstmcore::set_num_threads(1);
  lstmcore::trim();
  const auto lstm = layer(70, 200, 60);
  Call call(*lstm, 9, 3), expected(*lstm, 9, 3);
  lstm->forward(expected.args());
  check(lstmcore::workspace_bytes() > 0, "a call's workspace is kept");
  check(lstmcore::trim() > 0 && lstmcore::workspace_bytes() == 0, "trim gives it back");
  {
    lstmcore::Workspace workspace;
    auto args = call.args();
    args.workspace = &workspace;
    workspace.reserve(lstm->workspace_bytes(args));
    const std::size_t reserved = workspace.bytes();
    const int64_t found = requests_of([&] { lstm->forward(args); });
    check(found == 0 && workspace.bytes() == reserved && call.y == expected.y,
          "a workspace that was reserved");
    check(lstmcore::workspace_bytes() == reserved && lstmcore::trim() == 0, "the caller's is not trimmed");
    call.restore();
    const lstmcore::ForwardCall<float> calls[] = {{lstm.get(), args}, {lstm.get(), args}};
    bool refused = false;
    try {
      lstmcore::forward_all(calls, 2);
    } catch (const std::invalid_argument&) {
      refused = true;
    }
    check(refused && call.c == call.c0, "one workspace for two calls at once");
    // A stack has one for each direction: it takes the caller's for the first.
    Stack stack(8, 4, 130), alone(8, 4, 130);
    stack.args.call.workspace = &workspace;
    stack.run();
    alone.run();
    check(stack.y == alone.y && stack.states == alone.states, "a stack with a workspace of the caller's");
  }
  lstmcore::Stream<float> stream({lstm, layer(60, 9, {})}, 2);
  Values out(9 * 2 * 9), again(out);
  lstmcore::trim();
  stream.push(4, {call.x.data(), 140, 70}, {out.data(), 18, 9});
  const std::size_t held = lstmcore::workspace_bytes();
  lstmcore::Stream<float> twin(stream);
  twin.push(1, {call.x.data(), 140, 70}, {again.data(), 18, 9});
  check(held > 0 && stream.trim() == held, "the workspace of a stream");
  stream.push(1, {call.x.data(), 140, 70}, {out.data(), 18, 9});
  check(std::equal(out.begin(), out.begin() + 18, again.begin()), "a stream goes on after it was trimmed");
  // 40 MiB of scratch memory go back with the call.
  const auto wide = layer(1, 512, 1);
  Call large(*wide, 1, 20000);
  wide->forward(large.args());
  check(lstmcore::workspace_bytes() < (std::size_t{16} << 20), "a large workspace is not kept");
}

// From one thread while others compute.
void test_trim_while_computing() {
  const auto lstm = layer(70, 200, 60);
  Call expected(*lstm, 9, 3);
  lstm->forward(expected.args());
  std::atomic<bool> end{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      Call call(*lstm, 9, 3);
      for (int k = 0; k < 300; ++k) {
        call.restore();
        lstm->forward(call.args());
        wrong += call.y != expected.y || call.c != expected.c;
      }
    });
  std::thread trimmer([&] {
    while (!end) lstmcore::trim();
  });
  for (std::thread& caller : callers) caller.join();
  end = true;
  trimmer.join();
  check(wrong == 0, "calls while another thread trims: " + std::to_string(wrong) + " wrong");
}

}  // namespace

int main() {
  test_counting();
  test_warm_calls_allocate_nothing();
  test_failed_calls();
  test_failed_stacks();
  test_failed_streams();
  test_sizes_that_overflow();
  test_workspaces();
  test_trim_while_computing();
  test_failed_construction();
  std::printf("%s: %s\n", lstmcore::current_isa().c_str(), failures ? "failed" : "all checks passed");
  return failures ? 1 : 0;
}
