// What calls take from the system: nothing once they are warm; and scratch memory, which can be seen and
// given back.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
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
using counted::requests_of;
using lstmcore::Layers;
using lstmcore::Lstm;
using memory_problems::Call;
using memory_problems::layer;
using memory_problems::Stack;
using std::int64_t;

// That the rest of this file can fail.
void test_counting() {
  void* volatile kept = nullptr;
  check(requests_of([&] { kept = ::operator new(100); }) == 1, "operator new is counted");
  ::operator delete(kept);
  check(requests_of([&] { kept = ::operator new(128, std::align_val_t{64}); }) == 1, "with alignment too");
  ::operator delete(kept, std::align_val_t{64});
}

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
  test_workspaces();
  test_trim_while_computing();
  return checks::result();
}
