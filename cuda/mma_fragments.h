// The share of R that a thread of the tensor-core kernel holds, and how it is multiplied with h. plan.h has
// the layout.
#pragma once

#include <type_traits>

#include "persistent.h"
#include "primitives.h"

namespace lstmcore {
namespace cuda {
namespace {

// x as hi + lo, both of which tf32 holds; lo's own rounding error is 2^-21 of x or less.
struct Split {
  std::uint32_t hi, lo;
  __device__ __forceinline__ explicit Split(std::uint32_t x)
      : hi(x & 0xffffe000u), lo(float_to_bits(bits_to_float(x) - bits_to_float(hi))) {}
};

template <class O>
__device__ __forceinline__ void multiply_add(float (&d)[4], const uint4& a, std::uint32_t b0,
                                             std::uint32_t b1, O operand) {
  mma(d, a, b0, b1, operand);
}
// The small products first.
__device__ __forceinline__ void multiply_add(float (&d)[4], const uint4& a, std::uint32_t b0,
                                             std::uint32_t b1, tf32x3) {
  std::uint32_t word[4] = {a.x, a.y, a.z, a.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) keep_packed(word[i]);
  const Split a0(word[0]), a1(word[1]), a2(word[2]), a3(word[3]), first(b0), second(b1);
  const uint4 hi{a0.hi, a1.hi, a2.hi, a3.hi};
  mma(d, {a0.lo, a1.lo, a2.lo, a3.lo}, first.hi, second.hi, tf32{});
  mma(d, hi, first.lo, second.lo, tf32{});
  mma(d, hi, first.hi, second.hi, tf32{});
}

// Sums of TILES tiles of 8 batch rows (1 or 2) for the 8 units of a warp: [][product]. Where there is one
// tile, even and odd products of K have sums of their own, so that fewer wait for one another; but with
// tf32x3, where the halves of the factors take those registers.
struct Sums {
  float of[2][2][4];
};
template <class O, int TILES>
constexpr bool kEvenAndOdd = TILES == 1 && !std::is_same<O, tf32x3>::value;

// A thread's share of R.
template <class O>
struct Fragments {
  static constexpr int kChunks = kMmaRegisterWords / kChunkWords, kQuads = kChunkWords / 4;
  uint4 in_registers[kChunks * kQuads];
  const uint4* in_shared;
  int chunks, shared_chunks;

  __device__ __forceinline__ void load(const PersistentArgs& args, int block, uint4* shared) {
    const int all = args.tiling.words / 4, quads = all < kChunks * kQuads ? all : kChunks * kQuads;
    chunks = quads / kQuads;
    shared_chunks = (all - quads) / kQuads;
    const uint4* from = args.words + std::int64_t(block) * all * kThreads + threadIdx.x;
#pragma unroll
    for (int q = 0; q < kChunks * kQuads; ++q)
      in_registers[q] = q < quads ? from[q * kThreads] : make_uint4(0, 0, 0, 0);
#pragma unroll 1
    for (int q = quads; q < all; ++q) shared[(q - quads) * kThreads + threadIdx.x] = from[q * kThreads];
    in_shared = shared + threadIdx.x;
  }

  // The lane's words of a chunk, in each tile.
  template <int TILES>
  struct Columns {
    uint4 tile[TILES];
    __device__ __forceinline__ Columns(const std::uint32_t* h, int stride) {
#pragma unroll
      for (int i = 0; i < TILES; ++i) tile[i] = *reinterpret_cast<const uint4*>(h + i * kColumns * stride);
    }
  };

  template <int TILES>
  static __device__ __forceinline__ void chunk(const uint4& a0, const uint4& a1, const uint4& a2,
                                               const uint4& a3, const Columns<TILES>& columns, Sums& sums) {
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile) {
      const uint4& b = columns.tile[tile];
      auto& first = sums.of[tile];
      auto& second = sums.of[kEvenAndOdd<O, TILES> ? 1 : tile];
      multiply_add(first[0], a0, b.x, b.y, O{});
      multiply_add(first[1], a1, b.x, b.y, O{});
      multiply_add(second[0], a2, b.z, b.w, O{});
      multiply_add(second[1], a3, b.z, b.w, O{});
    }
  }

  // h: the lane's words of the slice's first chunk, in the lane's row of the first tile. The words of the
  // next chunk are on their way while one is multiplied; after the last, the last ones again.
  template <int TILES>
  __device__ __forceinline__ void multiply(const std::uint32_t* h, int stride, Sums& sums) const {
    const std::uint32_t* const last = h + (chunks + shared_chunks - 1) * kChunkWords;
    Columns<TILES> columns(h, stride);
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      if (c >= chunks) break;
      h = h == last ? last : h + kChunkWords;
      const Columns<TILES> next(h, stride);
      const uint4* a = in_registers + c * kQuads;
      chunk<TILES>(a[0], a[1], a[2], a[3], columns, sums);
      columns = next;
    }
#pragma unroll 1  // unrolled, it would take the registers that hold weights
    for (int c = 0; c < shared_chunks; ++c) {
      h = h == last ? last : h + kChunkWords;
      const Columns<TILES> next(h, stride);
      const uint4* a = in_shared + c * kQuads * kThreads;
      chunk<TILES>(a[0], a[kThreads], a[2 * kThreads], a[3 * kThreads], columns, sums);
      columns = next;
    }
  }
};

}  // namespace
}  // namespace cuda
}  // namespace lstmcore
