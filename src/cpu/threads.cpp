#include "cpu/threads.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
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

int environment_threads(const char* name) {
  const char* value = std::getenv(name);
  return value ? std::atoi(value) : 0;  // OMP_NUM_THREADS may be a list: its first entry counts
}

const Limit& default_limit() {
  static const Limit limit = [] {
    Limit least = affinity_limit();
    lower(least, cgroup_quota(), "cgroup CPU quota");
    lower(least, environment_threads("OMP_NUM_THREADS"), "OMP_NUM_THREADS");
    lower(least, environment_threads("LSTMCORE_NUM_THREADS"), "LSTMCORE_NUM_THREADS");
    return least;
  }();
  return limit;
}

std::atomic<int> chosen_threads{0};  // 0: not chosen, the default holds

// A forked child has no copy of the parent's OpenMP workers and would wait for them for ever: it runs serial.
std::atomic<bool> threads_used{false};
std::atomic<bool> forked_after_use{false};

}  // namespace

int num_threads() {
  if (forked_after_use.load(std::memory_order_relaxed)) return 1;
  const int chosen = chosen_threads.load(std::memory_order_relaxed);
  return chosen ? chosen : default_limit().threads;
}

std::string num_threads_reason() {
  if (forked_after_use) return "forked from a process that had used threads";
  return chosen_threads ? "set_num_threads" : default_limit().reason;
}

void set_num_threads(int threads) {
  if (threads < 1) throw std::invalid_argument("threads must be at least 1, got " + std::to_string(threads));
  chosen_threads = threads;
}

namespace cpu {

void note_threads_used() {
  static const int registered =
      pthread_atfork(nullptr, nullptr, [] { forked_after_use = threads_used.load(); });
  (void)registered;
  threads_used.store(true, std::memory_order_relaxed);
}

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
