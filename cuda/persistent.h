// The persistent kernels: a whole sequence in one launch, recurrent weights on chip. plan.h has the layout.
#pragma once

#include <cuda_runtime.h>

#include "cell.h"
#include "plan.h"

namespace lstmcore {
namespace cuda {

// Device memory. The steps run from 0 to T - 1, or from T - 1 to 0 if `reverse`. c_n may be c0;
// h_n may not be h0, which every block of a group reads whole.
struct PersistentArgs {
  std::int64_t T, N, H;
  Tiling tiling;
  int rows;  // of a group
  CellArgs<float> cell;
  const uint4* words;           // pack_recurrent
  const Pre<float>* projected;  // x W: [T, N, H], strides as of a sequence
  std::int64_t projected_step, projected_row;
  const float* c0;     // [N, H], or null for zeros
  const void* h0;      // [N, H] of S, or null for zeros
  std::int64_t first;  // position of the first of these T steps in the whole sequence, which lengths count
  const int* lengths;  // [N], or null
  bool reverse;
  void* y;  // [T, N, H] of S, or null
  std::int64_t y_step, y_row;
  float* c_seq;  // or null
  std::int64_t c_step, c_row;
  float* c_n;
  void* h_n;
  std::uint32_t* exchange;  // GRID: [T, groups, rows, h_words rounded up to 4], every bit set
  int* fault;               // set to 1 where a wait took longer than `patience`
  std::uint64_t patience;   // nanoseconds
};

// Blocks of the largest cluster that the current device can run, each with all of a multiprocessor; up to
// `most`, 1 where it can run none. Parts of a GPU have smaller ones than the whole.
int largest_cluster(int most, std::size_t shared_per_block);

// Throw Error. The kernel of fused multiply-adds: S is float, float16 or bfloat16.
template <class S>
void launch_block(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream);
template <class S>
void launch_cluster(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream);
template <class S>
void launch_grid(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream);

template <class S>
void launch_persistent(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream) {
  switch (plan.path) {
    case LSTMCORE_CUDA_BLOCK:
      return launch_block<S>(plan, args, stream);
    case LSTMCORE_CUDA_CLUSTER:
      return launch_cluster<S>(plan, args, stream);
    default:
      return launch_grid<S>(plan, args, stream);
  }
}

// Throw Error. That of tensor cores: O is float16, bfloat16, tf32 or tf32x3.
template <class O>
void launch_mma_block(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream);
template <class O>
void launch_mma_cluster(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream);
template <class O>
void launch_mma_grid(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream);

template <class O>
void launch_mma_operand(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream) {
  switch (plan.path) {
    case LSTMCORE_CUDA_BLOCK:
      return launch_mma_block<O>(plan, args, stream);
    case LSTMCORE_CUDA_CLUSTER:
      return launch_mma_cluster<O>(plan, args, stream);
    default:
      return launch_mma_grid<O>(plan, args, stream);
  }
}

template <class S>
void launch_mma(const lstmcore_cuda_plan& plan, int math, const PersistentArgs& args, cudaStream_t stream) {
  if constexpr (sizeof(S) == 2)
    launch_mma_operand<S>(plan, args, stream);
  else if (math == LSTMCORE_CUDA_TF32X3)
    launch_mma_operand<tf32x3>(plan, args, stream);
  else
    launch_mma_operand<tf32>(plan, args, stream);
}

}  // namespace cuda
}  // namespace lstmcore
