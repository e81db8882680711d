// How the h of a step reaches every block of its group. A kernel calls, with all threads of the block,
//
//   begin()                  once
//   publish(t, row, unit, h) by the owner of (row, unit), after its block has read buffer t & 1
//   receive(t + 1, buffer)   true when buffer[row * padded_k + unit] holds what was published at t
//   end()                    once, before the block may leave
//
// with `buffer` alternating between two. A wait that takes longer than `patience` sets `fault`, and receive
// is false from then on: a broken protocol ends as an error and never as a GPU that hangs.
#pragma once

#include "persistent.h"
#include "primitives.h"

namespace lstmcore {
namespace cuda {

struct ExchangeArgs {
  const PersistentArgs* args;
  int rows, group, groups, block;
  float* buffers;  // two of [rows][padded_k], zero where there is no unit
  std::uint64_t* barriers;
};

// One block is the whole group.
struct BlockExchange {
  ExchangeArgs at;

  __device__ void begin() {}
  __device__ void end() {}
  __device__ void publish(std::int64_t t, int row, int unit, float h) {
    const int k = at.args->tiling.padded_k();
    if (unit < at.args->H) at.buffers[((t + 1) & 1) * at.rows * k + row * k + unit] = h;
  }
  __device__ bool receive(std::int64_t, float*) {
    __syncthreads();
    return true;
  }
};

// Blocks anywhere on the device. The data is its own flag: words are 0xFFFFFFFF until h, which never has that
// pattern, is there. (Lamport 1977; each step has words of its own, so none is used twice.)
struct GridExchange {
  static constexpr std::uint32_t kAbsent = 0xffffffffu;
  ExchangeArgs at;

  __device__ std::int64_t width() const { return (at.args->H + 3) / 4 * 4; }
  __device__ std::uint32_t* words(std::int64_t t) const {
    return at.args->exchange + (t * at.groups + at.group) * at.rows * width();
  }
  __device__ void begin() {}
  __device__ void end() {}
  __device__ void publish(std::int64_t t, int row, int unit, float h) {
    const float value = h != h ? bits_to_float(0x7fc00000u) : h;
    if (unit < width()) relaxed_store(words(t) + row * width() + unit, float_to_bits(value));
  }

  __device__ bool receive(std::int64_t t, float* buffer) {
    const std::uint32_t* from = words(t - 1);
    const int quads = int(width() / 4), k = at.args->tiling.padded_k();
    const std::uint64_t start = nanoseconds();
    bool late = false;
    for (int i = int(threadIdx.x); i < quads * at.rows && !late; i += kThreads) {
      const uint4* address = reinterpret_cast<const uint4*>(from) + i;
      uint4 v = relaxed_load(address);
      while ((v.x == kAbsent || v.y == kAbsent || v.z == kAbsent || v.w == kAbsent) && !late) {
        late = nanoseconds() - start > at.args->patience;
        v = relaxed_load(address);
      }
      float* to = buffer + i / quads * k + i % quads * 4;
      to[0] = bits_to_float(v.x);
      to[1] = bits_to_float(v.y);
      to[2] = bits_to_float(v.z);
      to[3] = bits_to_float(v.w);
    }
    if (late) set_fault(at.args->fault);
    return !__syncthreads_or(late);
  }
};

#ifdef LSTMCORE_HAVE_CLUSTERS
// Blocks of one cluster write into each other's shared memory; a barrier there counts the bytes. Two buffers
// are enough: who has received all of h(t) knows that everyone has done with h(t - 1).
struct ClusterExchange {
  ExchangeArgs at;

  __device__ void begin() {
    if (threadIdx.x == 0) {
      mbarrier_init(&at.barriers[0]);
      mbarrier_init(&at.barriers[1]);
    }
    cluster_sync();  // no block may be written to before it has started
  }
  __device__ void end() { cluster_sync(); }  // nor after it has ended

  __device__ void publish(std::int64_t t, int row, int unit, float h) {
    const int k = at.args->tiling.padded_k(), next = int((t + 1) & 1);
    if (unit >= at.args->H) return;
    float* own = at.buffers + next * at.rows * k + row * k + unit;
    for (int peer = 0; peer < at.args->tiling.blocks; ++peer) cluster_store(own, &at.barriers[next], peer, h);
  }

  __device__ bool receive(std::int64_t t, float*) {
    std::uint64_t* barrier = &at.barriers[t & 1];
    if (threadIdx.x == 0) mbarrier_expect(barrier, int(at.rows * at.args->H * 4));
    const std::uint64_t start = nanoseconds();
    bool late = false;
    while (!mbarrier_try_wait(barrier, int((t - 1) >> 1 & 1)) && !late)
      late = nanoseconds() - start > at.args->patience;
    if (late) set_fault(at.args->fault);
    return !__syncthreads_or(late);
  }
};
#endif

}  // namespace cuda
}  // namespace lstmcore
