// The share of R that a thread of the kernel of fused multiply-adds holds, and how it is multiplied with h.
// plan.h has the layout.
#pragma once

#include "persistent.h"
#include "primitives.h"

namespace lstmcore {
namespace cuda {
namespace {

template <class S>
constexpr int kWeightsPerWord = int(4 / sizeof(S));

// acc[row] += the word's weights times h from `k` on.
template <class S, int ROWS>
__device__ __forceinline__ void multiply_quad(const uint4& words, const float* h, int stride,
                                              float (&acc)[ROWS]) {
  std::uint32_t word[4] = {words.x, words.y, words.z, words.w};
  constexpr int kWeights = 4 * kWeightsPerWord<S>;
  float weight[kWeights];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (kWeightsPerWord<S> == 1) {
      weight[i] = bits_to_float(word[i]);
    } else {
      keep_packed(word[i]);
      weight[2 * i] = low_half(word[i], S{});
      weight[2 * i + 1] = high_half(word[i], S{});
    }
  }
#pragma unroll
  for (int row = 0; row < ROWS; ++row)
#pragma unroll
    for (int i = 0; i < kWeights; i += 4) {
      const float4 v = *reinterpret_cast<const float4*>(h + row * stride + i);
      acc[row] = fmaf(weight[i], v.x, acc[row]);
      acc[row] = fmaf(weight[i + 1], v.y, acc[row]);
      acc[row] = fmaf(weight[i + 2], v.z, acc[row]);
      acc[row] = fmaf(weight[i + 3], v.w, acc[row]);
    }
}

// The sums of a row tile, of each batch row, and the lane's place among the block's partial sums. With two
// CHAINS even and odd quads of K have sums of their own, so that fewer additions wait for one another.
template <int ROWS, int CHAINS>
struct TileSums {
  float of[CHAINS][ROWS] = {};
  float* partial;

  __device__ __forceinline__ explicit TileSums(float* partial) : partial(partial) {}
  __device__ __forceinline__ void store() const {
#pragma unroll
    for (int row = 0; row < ROWS; ++row)
      partial[row * 32] = CHAINS == 1 ? of[0][row] : of[0][row] + of[CHAINS - 1][row];
  }
  __device__ __forceinline__ void next() { *this = TileSums(partial + ROWS * 32); }
};

// A thread's share of R; SEVERAL: of several row tiles. Registers can only be indexed by constants: hence
// unrolled chunks, of which those that are not there are skipped, by all lanes of a warp alike. Any of them
// may be the last of a row tile.
template <class S, int ROWS, bool SEVERAL>
struct Weights {
  static constexpr int kQuads = register_words(false, SEVERAL, ROWS) / 4, kChunk = kChunkWords / 4;
  static constexpr int kChains = SEVERAL && ROWS == 1 ? 2 : 1;
  static constexpr int kStep = 4 * kWeightsPerWord<S>, kChunkLength = kChunk * kStep;
  uint4 in_registers[kQuads];
  const uint4* in_shared;
  int quads, shared_quads;

  __device__ __forceinline__ void load(const PersistentArgs& args, int block, const Share& share,
                                       uint4* shared) {
    const int all = args.tiling.words / 4, own = SEVERAL ? share.chunks * kChunk : all;
    quads = own < kQuads ? own : kQuads;
    shared_quads = own - quads;
    const uint4* from = args.words + std::int64_t(block) * all * kThreads + threadIdx.x;
#pragma unroll
    for (int q = 0; q < kQuads; ++q)
      in_registers[q] = q < quads ? from[q * kThreads] : make_uint4(0, 0, 0, 0);
#pragma unroll 1
    for (int q = 0; q < shared_quads; ++q) shared[q * kThreads + threadIdx.x] = from[(quads + q) * kThreads];
    in_shared = shared + threadIdx.x;
  }

  // h at the warp's first chunk, and the lane's place for its first partial sum. Where a row tile ends, the
  // next one begins with the first h again.
  __device__ __forceinline__ void multiply(const float* h, int stride, const Tiling& tiling, int in_tile,
                                           float* partial) const {
    TileSums<ROWS, kChains> sums(partial);
    int left = tiling.tile_chunks - in_tile;
    const auto end_chunk = [&] {
      if (!SEVERAL || --left > 0) return;
      sums.store();
      sums.next();
      left = tiling.tile_chunks;
      h -= left * kChunkLength;
    };
#pragma unroll
    for (int first = 0; first < kQuads; first += kChunk) {
      if (first >= quads) break;
#pragma unroll
      for (int q = first; q < first + kChunk; ++q)
        multiply_quad<S>(in_registers[q], h + q * kStep, stride, sums.of[q % kChains]);
      end_chunk();
    }
    constexpr int kAtOnce = SEVERAL ? kChunk : 1;
#pragma unroll 1  // unrolled, it would take the registers that hold weights
    for (int q = 0; q < shared_quads; q += kAtOnce) {
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i)
        multiply_quad<S>(in_shared[(q + i) * kThreads], h + (quads + q + i) * kStep, stride,
                         sums.of[i % kChains]);
      end_chunk();
    }
    if (!SEVERAL || left < tiling.tile_chunks) sums.store();
  }
};

}  // namespace
}  // namespace cuda
}  // namespace lstmcore
