#include "cpu/threads.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>

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

// The quota of this process's own cgroup, which affinity does not show: cgroup v2, then v1. 0: none.
int cgroup_quota() {
  double quota = 0, period = 0;
  std::string first;
  if (std::ifstream file("/sys/fs/cgroup/cpu.max"); file >> first >> period) {
    if (first == "max") return 0;
    quota = std::atof(first.c_str());
  } else {
    std::ifstream quota_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    std::ifstream period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (!(quota_file >> quota) || !(period_file >> period)) return 0;
  }
  return quota > 0 && period > 0 ? std::max(1, static_cast<int>(std::ceil(quota / period))) : 0;
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
    lower(least, cgroup_quota(), "cgroup CPU quota");
    std::string ignored;
    lower_by_environment(least, "OMP_NUM_THREADS", ignored);
    lower_by_environment(least, "LSTMCORE_NUM_THREADS", ignored);
    least.reason += ignored;
    return least;
  }();
  return limit;
}

std::atomic<int> chosen_threads{0};  // 0: not chosen, the default holds

// A forked child has no copy of its parent's OpenMP workers, whoever started them, and would wait for them
// for ever: it runs serially. The handler is in place before any thread can be.
std::atomic<bool> forked{false};
[[maybe_unused]] const int fork_handler = pthread_atfork(nullptr, nullptr, [] { forked = true; });

}  // namespace

int num_threads() {
  if (forked.load(std::memory_order_relaxed)) return 1;
  const int chosen = chosen_threads.load(std::memory_order_relaxed);
  return chosen ? chosen : default_limit().threads;
}

std::string num_threads_reason() {
  if (forked) return "forked child";
  return chosen_threads ? "set_num_threads" : default_limit().reason;
}

void set_num_threads(int threads) {
  if (threads < 1 || threads > kMaxThreads)
    throw std::invalid_argument("threads must be in 1.." + std::to_string(kMaxThreads) + ", got " +
                                std::to_string(threads));
  chosen_threads = threads;
}

namespace cpu {

ThreadPlan plan_threads(int limit, std::int64_t steps, std::int64_t rows, std::int64_t tile_rows,
                        std::int64_t panels, double multiply_adds_per_row) {
  // Multiply-adds a thread must get, over the call and over each step: starting a parallel region and
  // crossing a barrier cost that much. Measured with one and two threads on a 2-core AVX-512 machine: two won
  // from about 300 thousand a call, and with a barrier at each step from about 70 thousand a step.
  constexpr double kRegionWork = 140e3;
  constexpr double kStepWork = 35e3;
  const double step_work = multiply_adds_per_row * static_cast<double>(rows);
  const double work = step_work * static_cast<double>(steps);
  const auto at_most = [limit](double wanted) {
    return static_cast<int>(std::min<double>(limit, std::max(1.0, wanted)));
  };
  const int by_rows = at_most(std::min(work / kRegionWork, static_cast<double>(rows / tile_rows)));
  const int by_units =
      at_most(std::min({work / kRegionWork, step_work / kStepWork, static_cast<double>(panels)}));
  if (by_rows >= by_units) return {by_rows, Split::rows};
  return {by_units, Split::units};
}

}  // namespace cpu
}  // namespace lstmcore
