// cuda/primitives.h for the emulator.
#pragma once

#include <cuda_runtime.h>

#define LSTMCORE_HAVE_CLUSTERS 1

namespace emulator {
char* shared_memory(int block_of_cluster);  // -1: of the block that runs
int cluster_rank();
void cluster_sync();
void yield();          // lets another fiber run
std::uint64_t time();  // passes over all fibers, in microseconds
void wait_for_kernel_before();
}  // namespace emulator

namespace lstmcore {
namespace cuda {

inline char* dynamic_shared() { return emulator::shared_memory(-1); }
inline void keep_packed(std::uint32_t&) {}
inline std::uint64_t nanoseconds() { return emulator::time() * 1000; }

inline void wait_for_kernel_before() { emulator::wait_for_kernel_before(); }
inline void let_next_kernel_start() {}

inline uint4 relaxed_load(const uint4* address) {
  emulator::yield();
  return *address;
}
inline void relaxed_store(std::uint32_t* address, std::uint32_t value) { *address = value; }

inline int cluster_rank() { return emulator::cluster_rank(); }
inline void cluster_sync() { emulator::cluster_sync(); }

// As PTX has it: a phase ends when the arrivals (one) and the bytes that were announced are complete.
struct Mbarrier {
  std::int32_t bytes;
  std::int16_t arrivals, phase;
};
static_assert(sizeof(Mbarrier) == sizeof(std::uint64_t), "stands in its place");

inline void mbarrier_complete(Mbarrier* barrier) {
  if (barrier->arrivals || barrier->bytes) return;
  barrier->phase ^= 1;
  barrier->arrivals = 1;
}
inline void mbarrier_init(std::uint64_t* barrier) { *reinterpret_cast<Mbarrier*>(barrier) = {0, 1, 0}; }
inline void mbarrier_expect(std::uint64_t* barrier, int bytes) {
  auto* at = reinterpret_cast<Mbarrier*>(barrier);
  at->bytes += bytes;
  --at->arrivals;
  mbarrier_complete(at);
}
inline bool mbarrier_try_wait(std::uint64_t* barrier, int parity) {
  emulator::yield();
  return reinterpret_cast<Mbarrier*>(barrier)->phase != parity;
}
inline void cluster_store(float* own, std::uint64_t* barrier, int peer, float value) {
  char* mine = emulator::shared_memory(-1);
  char* theirs = emulator::shared_memory(peer);
  *reinterpret_cast<float*>(theirs + (reinterpret_cast<char*>(own) - mine)) = value;
  auto* at = reinterpret_cast<Mbarrier*>(theirs + (reinterpret_cast<char*>(barrier) - mine));
  at->bytes -= 4;
  mbarrier_complete(at);
}

}  // namespace cuda
}  // namespace lstmcore
