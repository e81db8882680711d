// Batches of rows of different lengths: to and from the padded form that layers take, and sums of two.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "lstmcore/cuda_abi.h"

namespace lstmcore {
namespace cuda {

// packed is [total, row_bytes], row n of the batch at offsets[n] to offsets[n + 1]; padded is
// [N, T, row_bytes]. `offsets`, [N + 1], is host memory that is read before the call returns; row_bytes is
// even.
struct Ragged {
  void *padded, *packed;
  const std::int64_t* offsets;
  std::int64_t N, T;
  std::size_t row_bytes;
};

// Each enqueues one kernel on the current device, after others that write the offsets there. Throws Error.
// `pad` writes zeros past a row's length.
void pad(const Ragged& rows, cudaStream_t stream);
void unpad(const Ragged& rows, cudaStream_t stream);
// Adds in the accumulators' type. Throws std::invalid_argument for dtypes of which one is float64.
void add(const lstmcore_cuda_sum& sum, cudaStream_t stream);

}  // namespace cuda
}  // namespace lstmcore
