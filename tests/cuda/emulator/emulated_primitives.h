// cuda/primitives.h for the emulator.
#pragma once

#include <cuda_runtime.h>

#include "dtypes.h"

#define LSTMCORE_HAVE_CLUSTERS 1

namespace emulator {
char* shared_memory(int block_of_cluster);  // -1: of the block that runs
int cluster_rank();
void cluster_sync();
void yield();          // lets another fiber run
std::uint64_t time();  // passes over all fibers, in microseconds
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
}  // namespace emulator

namespace lstmcore {
namespace cuda {

inline char* dynamic_shared() { return emulator::shared_memory(-1); }
inline void keep_packed(std::uint32_t&) {}
inline std::uint64_t nanoseconds() { return emulator::time() * 1000; }

inline uint4 relaxed_load(const uint4* address) {
  emulator::yield();
  return *address;
}
inline void relaxed_store(std::uint32_t* address, std::uint32_t value) { *address = value; }

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
inline void cluster_store(std::uint32_t* own, std::uint64_t* barrier, int peer, std::uint32_t value) {
  char* mine = emulator::shared_memory(-1);
  char* theirs = emulator::shared_memory(peer);
  *reinterpret_cast<std::uint32_t*>(theirs + (reinterpret_cast<char*>(own) - mine)) = value;
  auto* at = reinterpret_cast<Mbarrier*>(theirs + (reinterpret_cast<char*>(barrier) - mine));
  at->bytes -= 4;
  mbarrier_complete(at);
}

}  // namespace cuda
}  // namespace lstmcore
