// The product for where cuBLAS is absent or has none: tiles in shared memory, 4 x 4 sums a thread, K in order.
#include "dtypes.h"
#include "gemm.h"
#include "launch.h"
#include "primitives.h"

namespace lstmcore {
namespace cuda {
namespace {

constexpr int kTile = 64, kDepth = 16, kSide = 4;
static_assert((kTile / kSide) * (kTile / kSide) == kStepThreads, "each thread has a square of the tile");

// Tiles of C by rows first, then columns, then count: blockIdx.x counts them all.
template <class S>
__global__ void __launch_bounds__(kStepThreads) plain_gemm_kernel(const __grid_constant__ Gemm gemm) {
  using A = Accumulator<S>;
  const std::int64_t down = (gemm.M + kTile - 1) / kTile, across = (gemm.N + kTile - 1) / kTile;
  const std::int64_t tile = std::int64_t(blockIdx.x), which = tile / (down * across);
  const std::int64_t first_row = tile % down * kTile, first_column = tile / down % across * kTile;
  const S* a = static_cast<const S*>(gemm.A) + which * gemm.stride_a;
  const S* b = static_cast<const S*>(gemm.B);
  A* c = static_cast<A*>(gemm.C) + which * gemm.stride_c;
  const int thread = int(threadIdx.x), y = thread / (kTile / kSide), x = thread % (kTile / kSide);
  A* a_tile = reinterpret_cast<A*>(dynamic_shared());  // [kDepth][kTile + 1]: no two threads in one bank
  A* b_tile = a_tile + kDepth * (kTile + 1);           // [kDepth][kTile]

  A sums[kSide][kSide] = {};
  for (std::int64_t k0 = 0; k0 < gemm.K; k0 += kDepth) {
    for (int i = thread; i < kTile * kDepth; i += kStepThreads) {
      const std::int64_t row = first_row + i / kDepth, k = k0 + i % kDepth;
      a_tile[i % kDepth * (kTile + 1) + i / kDepth] =
          row < gemm.M && k < gemm.K ? cuda::load(a[row * gemm.lda + k]) : A(0);
      const std::int64_t column = first_column + i % kTile, down_k = k0 + i / kTile;
      b_tile[i] = column < gemm.N && down_k < gemm.K ? cuda::load(b[down_k * gemm.ldb + column]) : A(0);
    }
    __syncthreads();
#pragma unroll 4
    for (int k = 0; k < kDepth; ++k)
#pragma unroll
      for (int i = 0; i < kSide; ++i)
#pragma unroll
        for (int j = 0; j < kSide; ++j)
          sums[i][j] = Num<A>::fma(a_tile[k * (kTile + 1) + y * kSide + i],
                                    b_tile[k * kTile + x + j * (kTile / kSide)], sums[i][j]);
    __syncthreads();
  }
  for (int i = 0; i < kSide; ++i)
    for (int j = 0; j < kSide; ++j) {
      const std::int64_t row = first_row + y * kSide + i, column = first_column + x + j * (kTile / kSide);
      if (row >= gemm.M || column >= gemm.N) continue;
      A& to = c[row * gemm.ldc + column];
      to = gemm.add ? to + sums[i][j] : sums[i][j];
    }
}

}  // namespace

template <class S>
void plain_gemm(const Gemm& gemm, cudaStream_t stream) {
  const std::int64_t tiles = (gemm.M + kTile - 1) / kTile * ((gemm.N + kTile - 1) / kTile) * gemm.count;
  const std::size_t shared_bytes = sizeof(Accumulator<S>) * kDepth * (2 * kTile + 1);
  launch(plain_gemm_kernel<S>, {dim3(unsigned(tiles)), shared_bytes}, stream, gemm);
}

template void plain_gemm<float>(const Gemm&, cudaStream_t);
template void plain_gemm<double>(const Gemm&, cudaStream_t);
template void plain_gemm<float16>(const Gemm&, cudaStream_t);
template void plain_gemm<bfloat16>(const Gemm&, cudaStream_t);

}  // namespace cuda
}  // namespace lstmcore
