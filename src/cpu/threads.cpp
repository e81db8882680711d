#include "cpu/threads.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "cpu/cgroup.h"
#include "lstmcore/runtime.h"

namespace lstmcore {
namespace {

struct Limit {
  int threads;
  std::string reason;
};

Limit affinity_limit() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return {CPU_COUNT(&set), "CPU affinity"};
  return {static_cast<int>(std::max(1u, std::thread::hardware_concurrency())), "hardware threads"};
}

void lower(Limit& limit, int threads, const char* reason) {
  if (threads >= 1 && threads < limit.threads) limit = {threads, reason};
}

// OMP_NUM_THREADS may be a list, of which the first entry counts. A value that is no positive number limits
// nothing, and the reason says so.
void lower_by_environment(Limit& limit, const char* name, std::string& ignored) {
  const char* value = std::getenv(name);
  if (!value || !*value) return;
  char* end = nullptr;
  const long threads = std::strtol(value, &end, 10);
  const bool valid = end != value && (*end == '\0' || *end == ',') && threads >= 1;
  if (valid)
    lower(limit, static_cast<int>(std::min<long>(threads, INT_MAX)), name);
  else
    ignored += std::string("; ignored ") + name + "='" + value + "', not a positive number";
}

const Limit& default_limit() {
  static const Limit limit = [] {
    Limit least = affinity_limit();
    lower(least, kMaxThreads, "the most there can be");
    lower(least, cpu::cgroup_cpus(), "cgroup CPU quota");
    std::string ignored;
    lower_by_environment(least, "OMP_NUM_THREADS", ignored);
    lower_by_environment(least, "LSTMCORE_NUM_THREADS", ignored);
    least.reason += ignored;
    return least;
  }();
  return limit;
}

std::atomic<int> chosen_threads{0};  // 0: not chosen, the default holds

thread_local int chosen_for_this_thread = 0;

// A forked child has no copy of its parent's workers, and would wait for them for ever: it runs serially. The
// handler is in place before any thread can be.
std::atomic<bool> forked{false}, serial_notice_taken{false};
[[maybe_unused]] const int fork_handler = pthread_atfork(nullptr, nullptr, [] {
  forked = true;
  serial_notice_taken = false;
});

void check_threads(int threads, int least) {
  if (threads < least || threads > kMaxThreads)
    throw std::invalid_argument("threads must be in 1.." + std::to_string(kMaxThreads) + ", got " +
                                std::to_string(threads));
}

}  // namespace

int num_threads_of_process() {
  const int chosen = chosen_threads.load(std::memory_order_relaxed);
  return cpu::in_forked_child() ? 1 : chosen ? chosen : default_limit().threads;
}

int num_threads() { return cpu::in_forked_child() ? 1 : cpu::num_threads_but_for_fork(); }

std::string num_threads_reason() {
  if (forked) return "forked child";
  if (chosen_for_this_thread) return "set for this thread";
  return chosen_threads ? "set_num_threads" : default_limit().reason;
}

void set_num_threads(int threads) {
  check_threads(threads, 1);
  chosen_threads = threads;
}

int exchange_num_threads_of_this_thread(int threads) {
  check_threads(threads, 0);
  return std::exchange(chosen_for_this_thread, threads);
}

int num_threads_of_this_thread() { return chosen_for_this_thread; }

namespace cpu {

namespace {

// Multiply-adds a thread must get, over the call and over each step: waking the others and waiting for them
// costs that much. Measured with one and two threads on a 2-core AVX-512 machine: two won from about 300
// thousand a call, and from about 70 thousand a step.
constexpr double kCallWork = 140e3;
constexpr double kStepWork = 35e3;

}  // namespace

bool in_forked_child() { return forked.load(std::memory_order_relaxed); }

int num_threads_but_for_fork() {
  if (chosen_for_this_thread) return chosen_for_this_thread;
  const int chosen = chosen_threads.load(std::memory_order_relaxed);
  return chosen ? chosen : default_limit().threads;
}

bool take_serial_notice() { return !serial_notice_taken.exchange(true, std::memory_order_relaxed); }

bool worth_threads(double multiply_adds) { return multiply_adds >= 2 * kCallWork; }

ThreadPlan plan_threads(int limit, double multiply_adds, std::int64_t steps, std::int64_t rows,
                        std::int64_t tile_rows, std::int64_t panels) {
  const double step_work = multiply_adds / static_cast<double>(std::max<std::int64_t>(steps, 1));
  const auto at_most = [limit](double wanted) {
    return static_cast<int>(std::min<double>(limit, std::max(1.0, wanted)));
  };
  const int by_rows = at_most(std::min(multiply_adds / kCallWork, static_cast<double>(rows / tile_rows)));
  const int by_units =
      at_most(std::min({multiply_adds / kCallWork, step_work / kStepWork, static_cast<double>(panels)}));
  if (by_rows >= by_units) return {by_rows, Split::rows};
  return {by_units, Split::units};
}

}  // namespace cpu
}  // namespace lstmcore
