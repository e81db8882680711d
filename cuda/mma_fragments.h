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

// A thread's share of R. SEVERAL: a warp has several row tiles.
template <class O, bool SEVERAL>
struct Fragments {
  static constexpr int kQuads = kMmaChunkWords / 4;
  static constexpr int kChunks = register_words(true, SEVERAL, kColumns) / kMmaChunkWords;
  uint4 in_registers[kChunks * kQuads];
  const uint4* in_shared;
  int chunks, shared_chunks;

  __device__ __forceinline__ void load(const PersistentArgs& args, int block, const Share& share,
                                       uint4* shared) {
    const int all = args.tiling.words / 4, quads = all < kChunks * kQuads ? all : kChunks * kQuads;
    const int own = SEVERAL ? share.chunks : all / kQuads;
    chunks = own < kChunks ? own : kChunks;
    shared_chunks = own - chunks;
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

  // The sums of a row tile; `partial` is the lane's place for its first column.
  template <int TILES>
  static __device__ __forceinline__ void store(Sums& sums, Pre<float>* partial) {
    if (kEvenAndOdd<O, TILES>)
#pragma unroll
      for (int i = 0; i < 8; ++i) sums.of[0][i / 4][i % 4] += sums.of[1][i / 4][i % 4];
#pragma unroll
    for (int column = 0; column < 2 * TILES; ++column) {
      const auto& of = sums.of[column / 2];
      const int e = column % 2;
      partial[column * 32] = {of[0][e], of[0][2 + e], of[1][e], of[1][2 + e]};
    }
  }

  // h: the lane's words of the warp's first chunk, which is `in_tile` of its row tile, in the lane's row of
  // the first tile of columns. The words of the next chunk are on their way while one is multiplied; after
  // the last, the last ones again, or where there are several row tiles, the first of the next. From one row
  // tile to the next `partial` moves on by `partials`.
  template <int TILES>
  __device__ __forceinline__ void multiply(const std::uint32_t* h, int in_tile, const Tiling& tiling,
                                           Pre<float>* partial, int partials) const {
    const int stride = tiling.h_stride;
    const int ahead = SEVERAL ? tiling.tile_chunks - in_tile : chunks + shared_chunks;
    const std::uint32_t* const last = h + (ahead - 1) * kMmaChunkWords;
    Sums sums{};
    bool begun = false;
    Columns<TILES> columns(h, stride);
    const auto multiply_chunk = [&](const uint4& a0, const uint4& a1, const uint4& a2, const uint4& a3) {
      const bool ends = h == last;
      if (SEVERAL)
        h = ends ? last - (tiling.tile_chunks - 1) * kMmaChunkWords : h + kMmaChunkWords;
      else
        h = ends ? last : h + kMmaChunkWords;
      const Columns<TILES> next(h, stride);
      chunk<TILES>(a0, a1, a2, a3, columns, sums);
      columns = next;
      if (!SEVERAL) return;
      begun = !ends;
      if (!ends) return;
      store<TILES>(sums, partial);
      sums = {};
      partial += partials;
    };
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      if (c >= chunks) break;
      const uint4* a = in_registers + c * kQuads;
      multiply_chunk(a[0], a[1], a[2], a[3]);
    }
#pragma unroll 1  // unrolled, it would take the registers that hold weights
    for (int c = 0; c < shared_chunks; ++c) {
      const uint4* a = in_shared + c * kQuads * kThreads;
      multiply_chunk(a[0], a[kThreads], a[2 * kThreads], a[3 * kThreads]);
    }
    if (!SEVERAL || begun) store<TILES>(sums, partial);
  }
};

}  // namespace
}  // namespace cuda
}  // namespace lstmcore
