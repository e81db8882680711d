// Runs a kernel: every thread of every block is a fiber, all of them alive at once, in an order that changes.
#include <cuda_runtime.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <random>
#include <utility>
#include <vector>

#include "emulated_primitives.h"
#include "overlap.h"

namespace emulator {

thread_local ThreadState state;
int mute_block = -1;
int seconds_per_second = 1;

namespace {

constexpr std::size_t kStack = 48 * 1024;
constexpr std::uint64_t kLate = 16;        // passes that a block may begin after others
constexpr std::uint64_t kPatience = 1000;  // passes until all threads wait

// Waits for all of a block, or of a cluster; keeps the "or" of what they bring.
struct Barrier {
  unsigned waiting = 0, left = 0, generation = 0;
  int value = 0, result = 0;
};

// Two sets of values: a lane may be one gathering ahead of those that read what the last one brought.
struct Warp {
  LaneValues values[2][32];
  Barrier barrier;
};

struct Fiber {
  ucontext_t context;
  ThreadState state;
  bool done = false;
  std::vector<std::pair<void*, const void*>> copies;
};

struct Machine {
  Launch launch{};
  const std::function<void()>* body = nullptr;
  std::vector<Fiber> fibers;
  std::vector<std::vector<uint4>> shared;  // of each block
  std::vector<Barrier> blocks, clusters;
  std::vector<Warp> warps;
  ucontext_t scheduler;
  Fiber* running = nullptr;
  std::uint64_t passes = 0;
  std::function<void()> before;  // the kernel ahead, where it has not run yet
  std::size_t waiting = 0;       // threads that wait for it
};
Machine* machine;
std::function<void()> kernel_before;  // of the next machine

void switch_away() { swapcontext(&machine->running->context, &machine->scheduler); }

void start_fiber() {
  (*machine->body)();
  machine->running->done = true;
  switch_away();
}

int wait(Barrier& barrier, unsigned members, int value) {
  const unsigned mine = barrier.generation;
  barrier.value |= value;
  if (++barrier.waiting == members) {
    barrier.result = barrier.value;
    barrier.value = 0;
    barrier.waiting = 0;
    ++barrier.generation;
    return barrier.result;
  }
  while (barrier.generation == mine) switch_away();
  return barrier.result;
}

// `depth`: how many kernels are under way.
char* stacks(std::size_t count, std::size_t depth) {
  struct Stacks {
    char* memory = nullptr;
    std::size_t have = 0;
  };
  static std::vector<Stacks> all;
  if (all.size() <= depth) all.resize(depth + 1);
  char*& memory = all[depth].memory;
  std::size_t& have = all[depth].have;
  if (count > have) {
    if (memory) munmap(memory, have * kStack);
    memory = static_cast<char*>(mmap(nullptr, count * kStack, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (memory == MAP_FAILED) std::abort();
    have = count;
  }
  return memory;
}

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
  wait(machine->clusters[state.block.x / cluster], cluster * machine->launch.threads, 0);
}
void yield() { switch_away(); }
std::uint64_t time() { return machine->passes * 1000; }

int lane() { return int(state.thread.x % 32); }
const LaneValues* gather_warp(const LaneValues& mine) {
  const unsigned index = state.block.x * (machine->launch.threads / 32) + state.thread.x / 32;
  Warp& warp = machine->warps[index];
  LaneValues* values = warp.values[warp.barrier.generation % 2];
  values[lane()] = mine;
  wait(warp.barrier, 32, 0);
  return values;
}

void start_copy(void* to, const void* from) {
  std::memset(to, 0xff, 16);
  machine->running->copies.emplace_back(to, from);
}
void wait_copies() {
  for (const auto& [to, from] : machine->running->copies) std::memcpy(to, from, 16);
  machine->running->copies.clear();
}

void wait_for_kernel_before() {
  ++machine->waiting;
  while (machine->before) switch_away();
}

void run_first(std::function<void()> before) { kernel_before = std::move(before); }

void run_kernel(const Launch& launch, const std::function<void()>& thread) {
  static std::recursive_mutex mutex;
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  static std::minstd_rand random(1);
  static std::size_t depth = 0;
  Machine here;
  Machine* const outer = machine;
  machine = &here;
  here.before = std::exchange(kernel_before, nullptr);
  here.launch = launch;
  here.body = &thread;
  // Garbage, as on a device.
  here.shared.assign(launch.blocks,
                     std::vector<uint4>(launch.shared_bytes / 16 + 1, make_uint4(~0u, ~0u, ~0u, 7)));
  here.blocks.resize(launch.blocks);
  here.clusters.resize(launch.blocks / launch.cluster);
  here.warps.resize(launch.blocks * (launch.threads / 32));
  const std::size_t count = std::size_t(launch.blocks) * launch.threads;
  here.fibers.resize(count);
  char* memory = stacks(count, depth++);
  std::vector<std::size_t> alive(count);
  for (std::size_t k = 0; k < count; ++k) {
    Fiber& fiber = here.fibers[k];
    fiber.state = {{unsigned(k % launch.threads)}, {unsigned(k / launch.threads)}, {launch.blocks}};
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = memory + k * kStack;
    fiber.context.uc_stack.ss_size = kStack;
    makecontext(&fiber.context, start_fiber, 0);
    alive[k] = k;
  }
  std::vector<bool> asleep(launch.blocks);
  while (!alive.empty()) {
    // Some blocks begin a few barriers after the others.
    for (unsigned block = 0; block < launch.blocks && here.passes <= kLate; ++block)
      asleep[block] =
          here.passes == 0 ? launch.blocks > 1 && random() % 4 == 0 : asleep[block] && here.passes < kLate;
    // Another order in each pass: no block may count on another's having run.
    std::rotate(alive.begin(), alive.begin() + std::ptrdiff_t(random() % alive.size()), alive.end());
    if (random() % 2) std::reverse(alive.begin(), alive.end());
    for (const std::size_t k : alive) {
      if (asleep[k / launch.threads]) continue;
      here.running = &here.fibers[k];
      state = here.running->state;
      swapcontext(&here.scheduler, &here.running->context);
    }
    alive.erase(
        std::remove_if(alive.begin(), alive.end(), [&](std::size_t k) { return here.fibers[k].done; }),
        alive.end());
    ++here.passes;
    if (here.before && here.waiting == count) {
      here.before();
      here.before = nullptr;
    } else if (here.before && (alive.empty() || here.passes == kPatience)) {
      std::fprintf(stderr, "emulator: a kernel overlaps another, and not every thread waits for it\n");
      std::abort();
    }
  }
  --depth;
  machine = outer;
}

}  // namespace emulator

void __syncthreads() { __syncthreads_or(0); }
int __syncthreads_or(int value) {
  using namespace emulator;
  return wait(machine->blocks[state.block.x], machine->launch.threads, value);
}
