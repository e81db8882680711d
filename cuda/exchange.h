// How the h of a step reaches every block of its group. A kernel calls, with all threads of the block,
//
//   begin()                     once
//   publish(t, row, at, word)   by the owner of that word, after its block has read buffer t & 1
//   receive(t + 1, buffer)      true when buffer[row * stride + at] holds what was published at t
//   end()                       once, before the block may leave
//
// with `buffer` alternating between two. Words are h in the type that the kernel multiplies: a float, or two
// 16-bit values. A wait that takes longer than `patience` sets `fault`, and receive is false from then on: a
// broken protocol ends as an error and never as a GPU that hangs.
#pragma once

#include "persistent.h"
#include "primitives.h"

namespace lstmcore {
namespace cuda {

// How long a thread has waited. A look at the timer may take longer than what is waited for: few are taken.
class Wait {
 public:
  __device__ explicit Wait(std::uint64_t patience) : patience_(patience) {}
  // After a look in vain: whether it has been too long.
  __device__ bool too_long() {
    if (++looks_ % 64) return false;
    const std::uint64_t now = nanoseconds();
    if (looks_ == 64) start_ = now;
    return now - start_ > patience_;
  }

 private:
  std::uint64_t patience_, start_ = 0;
  unsigned looks_ = 0;
};

struct ExchangeArgs {
  const PersistentArgs* args;
  int rows, group, groups, block;
  std::uint32_t* buffers;  // two of [rows][stride], zero where there is no unit
  std::uint64_t* barriers;

  __device__ int words() const { return args->tiling.h_words; }
  __device__ int stride() const { return args->tiling.h_stride; }
  __device__ std::uint32_t* place(std::int64_t t, int row, int word) const {
    return buffers + ((t & 1) * rows + row) * stride() + word;
  }
};

// One block is the whole group.
struct BlockExchange {
  ExchangeArgs at;

  __device__ void begin() {}
  __device__ void end() {}
  __device__ void publish(std::int64_t t, int row, int word, std::uint32_t value) {
    if (word < at.words()) *at.place(t + 1, row, word) = value;
  }
  __device__ bool receive(std::int64_t, std::uint32_t*) {
    __syncthreads();
    return true;
  }
};

// Blocks anywhere on the device. The data is its own flag: words are 0xFFFFFFFF until h, where a NaN is given
// other bits, is there. (Lamport 1977; each step has words of its own, so none is used twice.)
struct GridExchange {
  static constexpr std::uint32_t kAbsent = 0xffffffffu;
  static constexpr std::uint32_t kNaN = 0x7fff7fffu;  // as a float, and as two 16-bit values
  ExchangeArgs at;

  __device__ std::int64_t width() const { return (at.words() + 3) / 4 * 4; }
  __device__ std::uint32_t* slot(std::int64_t t) const {
    return at.args->exchange + (t * at.groups + at.group) * at.rows * width();
  }
  __device__ void begin() {}
  __device__ void end() {}
  __device__ void publish(std::int64_t t, int row, int word, std::uint32_t value) {
    if (word < width()) relaxed_store(slot(t) + row * width() + word, value == kAbsent ? kNaN : value);
  }

  __device__ bool receive(std::int64_t t, std::uint32_t* buffer) {
    const std::uint32_t* from = slot(t - 1);
    const int quads = int(width() / 4);
    Wait wait(at.args->patience);
    bool late = false;
    for (int i = int(threadIdx.x); i < quads * at.rows && !late; i += kThreads) {
      const uint4* address = reinterpret_cast<const uint4*>(from) + i;
      uint4 v = relaxed_load(address);
      while ((v.x == kAbsent || v.y == kAbsent || v.z == kAbsent || v.w == kAbsent) && !late) {
        late = wait.too_long();
        v = relaxed_load(address);
      }
      *reinterpret_cast<uint4*>(buffer + i / quads * at.stride() + i % quads * 4) = v;
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

  __device__ void publish(std::int64_t t, int row, int word, std::uint32_t value) {
    if (word >= at.words()) return;
    std::uint32_t* own = at.place(t + 1, row, word);
    std::uint64_t* barrier = &at.barriers[(t + 1) & 1];
    for (int peer = 0; peer < at.args->tiling.blocks; ++peer) cluster_store(own, barrier, peer, value);
  }

  __device__ bool receive(std::int64_t t, std::uint32_t*) {
    std::uint64_t* barrier = &at.barriers[t & 1];
    if (threadIdx.x == 0) mbarrier_expect(barrier, at.rows * at.words() * 4);
    Wait wait(at.args->patience);
    bool late = false;
    while (!mbarrier_try_wait(barrier, int((t - 1) >> 1 & 1)) && !late) late = wait.too_long();
    if (late) set_fault(at.args->fault);
    return !__syncthreads_or(late);
  }
};
#endif

}  // namespace cuda
}  // namespace lstmcore
