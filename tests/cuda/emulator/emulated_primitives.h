// cuda/primitives.h for the emulator, on fibers and on threads. Memory is as ordered as PTX says and no more:
// ThreadSanitizer sees a protocol that counts on more.
#pragma once

#include <cuda_runtime.h>

#include "dtypes.h"

#define LSTMCORE_HAVE_CLUSTERS 1

namespace emulator {
char* shared_memory(int block_of_cluster);  // -1: of the block that runs
int cluster_rank();
void cluster_sync();
void yield();          // lets others run
std::uint64_t time();  // nanoseconds; on fibers a pass over all of them is a microsecond

// On threads: how long a second of `patience` is. Many, as a busy machine may leave a thread waiting.
extern int seconds_per_second;
extern int mute_block;  // what this block of the grid sends never arrives; -1: none
inline bool muted() { return int(state.block.x) == mute_block; }

// What every lane of a warp brings to an instruction that they take together.
struct LaneValues {
  std::uint32_t word[10];
};
// All lanes call it, and get what all have brought. It is there until the lane calls it again.
const LaneValues* gather_warp(const LaneValues& mine);
int lane();
void start_copy(void* to, const void* from);  // 16 bytes, garbage until the thread waits
void wait_copies();
// The products of tensor cores, with the layout that the PTX manual gives (mma.cpp).
void mma_16bit(float (&d)[4], const LaneValues* lanes, float (*load)(std::uint16_t));
void mma_tf32(float (&d)[4], const LaneValues* lanes);
void wait_for_kernel_before();
}  // namespace emulator

namespace lstmcore {
namespace cuda {

inline char* dynamic_shared() { return emulator::shared_memory(-1); }
inline void keep_packed(std::uint32_t&) {}
inline std::uint64_t nanoseconds() { return emulator::time(); }

inline void wait_for_kernel_before() { emulator::wait_for_kernel_before(); }
inline void let_next_kernel_start() {}

inline uint4 relaxed_load(const uint4* address) {
  emulator::yield();
  return {__atomic_load_n(&address->x, __ATOMIC_RELAXED), __atomic_load_n(&address->y, __ATOMIC_RELAXED),
          __atomic_load_n(&address->z, __ATOMIC_RELAXED), __atomic_load_n(&address->w, __ATOMIC_RELAXED)};
}
inline void relaxed_store(std::uint32_t* address, std::uint32_t value) {
  if (!emulator::muted()) __atomic_store_n(address, value, __ATOMIC_RELAXED);
}
inline void set_fault(int* fault) { __atomic_store_n(fault, 1, __ATOMIC_RELAXED); }

inline std::uint32_t shuffle_xor(std::uint32_t value, int mask) {
  return emulator::gather_warp({{value}})[emulator::lane() ^ mask].word[0];
}
inline void start_copy(float4* to, const void* from) { emulator::start_copy(to, from); }
inline void wait_copies() { emulator::wait_copies(); }

inline const emulator::LaneValues* gather_factors(const uint4& a, std::uint32_t b0, std::uint32_t b1) {
  return emulator::gather_warp({{a.x, a.y, a.z, a.w, b0, b1}});
}
inline void mma(float (&d)[4], const uint4& a, std::uint32_t b0, std::uint32_t b1, float16) {
  emulator::mma_16bit(d, gather_factors(a, b0, b1), [](std::uint16_t bits) { return load(float16{bits}); });
}
inline void mma(float (&d)[4], const uint4& a, std::uint32_t b0, std::uint32_t b1, bfloat16) {
  emulator::mma_16bit(d, gather_factors(a, b0, b1), [](std::uint16_t bits) { return load(bfloat16{bits}); });
}
inline void mma(float (&d)[4], const uint4& a, std::uint32_t b0, std::uint32_t b1, tf32) {
  emulator::mma_tf32(d, gather_factors(a, b0, b1));
}

inline int cluster_rank() { return emulator::cluster_rank(); }
inline void cluster_sync() { emulator::cluster_sync(); }

// As PTX has it: a phase ends when the arrivals (one) and the bytes that were announced are complete. Bytes
// may come before they are announced.
struct Mbarrier {
  std::int32_t bytes;
  std::int16_t arrivals, phase;
};
static_assert(sizeof(Mbarrier) == sizeof(std::uint64_t), "stands in its place");

inline void mbarrier_change(std::uint64_t* barrier, int bytes, int arrivals, int order) {
  std::uint64_t before = __atomic_load_n(barrier, __ATOMIC_RELAXED), after;
  do {
    Mbarrier now;
    __builtin_memcpy(&now, &before, sizeof now);
    now.bytes += bytes;
    now.arrivals = std::int16_t(now.arrivals - arrivals);
    if (now.arrivals == 0 && now.bytes == 0) {
      now.phase ^= 1;
      now.arrivals = 1;
    }
    __builtin_memcpy(&after, &now, sizeof now);
  } while (!__atomic_compare_exchange_n(barrier, &before, after, false, order, __ATOMIC_RELAXED));
}
inline void mbarrier_init(std::uint64_t* barrier) {
  const Mbarrier fresh{0, 1, 0};
  __builtin_memcpy(barrier, &fresh, sizeof fresh);
}
inline void mbarrier_expect(std::uint64_t* barrier, int bytes) {
  mbarrier_change(barrier, bytes, 1, __ATOMIC_RELAXED);
}
inline bool mbarrier_try_wait(std::uint64_t* barrier, int parity) {
  emulator::yield();
  const std::uint64_t word = __atomic_load_n(barrier, __ATOMIC_ACQUIRE);
  Mbarrier now;
  __builtin_memcpy(&now, &word, sizeof now);
  return now.phase != parity;
}
inline void cluster_store(std::uint32_t* own, std::uint64_t* barrier, int peer, std::uint32_t value) {
  if (emulator::muted()) return;
  char* mine = emulator::shared_memory(-1);
  char* theirs = emulator::shared_memory(peer);
  *reinterpret_cast<std::uint32_t*>(theirs + (reinterpret_cast<char*>(own) - mine)) = value;
  auto* at = reinterpret_cast<std::uint64_t*>(theirs + (reinterpret_cast<char*>(barrier) - mine));
  mbarrier_change(at, -4, 0, __ATOMIC_RELEASE);
}

}  // namespace cuda
}  // namespace lstmcore
