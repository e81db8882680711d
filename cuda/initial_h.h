// What the h that a call begins with adds to a row's first step, where the steps run on m: see
// PersistentPath.
#pragma once

#include <cuda_runtime.h>

#include "cell.h"

namespace lstmcore {
namespace cuda {

// Device memory. The first step of a row is at position 0, or with `reverse` at the end of the row.
struct InitialH {
  std::int64_t T, N, H;
  bool reverse;
  const int* lengths;         // [N], or null: all T
  std::int64_t first, steps;  // the positions that `projected` has
  const Pre<float>* product;  // [N, H]: h0 R
  Pre<float>* projected;      // x W: [steps, N, H] with these distances between steps and rows
  std::int64_t step, row;
};

// Enqueues one kernel. Throws Error.
void add_initial_h(const InitialH& args, cudaStream_t stream);

}  // namespace cuda
}  // namespace lstmcore
