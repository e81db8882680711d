// Runs a kernel: every thread of every block is a thread of the system, for ThreadSanitizer. Blocks have no
// order but what the kernel makes. Every wait ends: those of barriers here, those of exchanges by `patience`.
#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "emulated_primitives.h"
#include "overlap.h"

namespace emulator {

thread_local ThreadState state;
int mute_block = -1;
int seconds_per_second = 60;

namespace {

constexpr auto kBarrierLimit = std::chrono::seconds(120);
thread_local int polls = 0;  // since the last barrier

// Waits for all of a block, or of a cluster; keeps the "or" of what they bring.
class Barrier {
 public:
  int wait(unsigned members, int value) {
    polls = 0;
    std::unique_lock<std::mutex> lock(mutex_);
    const unsigned mine = generation_;
    value_ |= value;
    if (++waiting_ == members) {
      result_ = value_;
      value_ = 0;
      waiting_ = 0;
      ++generation_;
      all_here_.notify_all();
    } else if (!all_here_.wait_until(lock, std::chrono::system_clock::now() + kBarrierLimit,
                                     [&] { return generation_ != mine; })) {
      std::fprintf(stderr, "a barrier was never reached by all of its threads\n");
      std::abort();
    }
    return result_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_here_;
  unsigned waiting_ = 0, generation_ = 0;
  int value_ = 0, result_ = 0;
};

// Two sets of values: a lane may be one gathering ahead of those that read what the last one brought.
struct Warp {
  LaneValues values[2][32];
  Barrier barrier;
};

struct Machine {
  explicit Machine(const Launch& launch)
      : launch(launch),
        // Garbage, as on a device.
        shared(launch.blocks, std::vector<uint4>(launch.shared_bytes / 16 + 1, make_uint4(~0u, ~0u, ~0u, 7))),
        blocks(launch.blocks),
        clusters(launch.blocks / launch.cluster),
        warps(launch.blocks * ((launch.threads + 31) / 32)) {}
  Launch launch;
  std::vector<std::vector<uint4>> shared;  // of each block
  std::vector<Barrier> blocks, clusters;
  std::vector<Warp> warps;
};
Machine* machine;
std::function<void()> kernel_before;  // of the next kernel
thread_local unsigned gatherings = 0;
thread_local std::vector<std::pair<void*, const void*>> copies;

}  // namespace

char* shared_memory(int block_of_cluster) {
  const unsigned block = state.block.x, cluster = machine->launch.cluster;
  const unsigned which =
      block_of_cluster < 0 ? block : block / cluster * cluster + unsigned(block_of_cluster);
  return reinterpret_cast<char*>(machine->shared[which].data());
}
int cluster_rank() { return int(state.block.x % machine->launch.cluster); }
void cluster_sync() {
  const unsigned cluster = machine->launch.cluster;
  machine->clusters[state.block.x / cluster].wait(cluster * machine->launch.threads, 0);
}
// Looks again after some milliseconds: hundreds of threads that look all the time leave none for the rest.
void yield() {
  if (polls++) std::this_thread::sleep_for(std::chrono::milliseconds(std::min(polls, 10)));
}
std::uint64_t time() {
  return std::uint64_t(std::chrono::steady_clock::now().time_since_epoch().count() / seconds_per_second);
}

int lane() { return int(state.thread.x % 32); }
const LaneValues* gather_warp(const LaneValues& mine) {
  Warp& warp = machine->warps[state.block.x * (machine->launch.threads / 32) + state.thread.x / 32];
  LaneValues* values = warp.values[gatherings++ % 2];
  values[lane()] = mine;
  warp.barrier.wait(32, 0);
  return values;
}

void start_copy(void* to, const void* from) { copies.emplace_back(to, from); }
void wait_copies() {
  for (const auto& [to, from] : copies) std::memcpy(to, from, 16);
  copies.clear();
}

// Kernels do not overlap here: the one ahead has always ended.
void wait_for_kernel_before() {}
void run_first(std::function<void()> before) { kernel_before = std::move(before); }

void run_kernel(const Launch& launch, const std::function<void()>& thread) {
  static std::recursive_mutex mutex;
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  if (const auto before = std::exchange(kernel_before, nullptr)) before();
  Machine here(launch);
  machine = &here;
  std::vector<std::thread> threads;
  for (unsigned k = 0; k < launch.blocks * launch.threads; ++k)
    threads.emplace_back([&launch, &thread, k] {
      state = {{k % launch.threads}, {k / launch.threads}, {launch.blocks}};
      thread();
    });
  for (std::thread& each : threads) each.join();
  machine = nullptr;
}

}  // namespace emulator

void __syncthreads() { __syncthreads_or(0); }
int __syncthreads_or(int value) {
  using namespace emulator;
  return machine->blocks[state.block.x].wait(machine->launch.threads, value);
}
