// Launches of kernels of one step, and of others that need no more.
#pragma once

#include <cuda_runtime.h>

#include "status.h"

namespace lstmcore {
namespace cuda {

constexpr int kStepThreads = 256;

struct LaunchShape {
  dim3 blocks;
  std::size_t shared_bytes = 0;
  // The kernel may start before the one ahead of it in the stream has ended, for which it waits
  // (wait_for_kernel_before).
  bool overlaps = false;
};

// Of kStepThreads threads a block.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const LaunchShape& shape, cudaStream_t stream,
            const Arguments&... arguments) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = shape.blocks;
  config.blockDim = dim3(kStepThreads);
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = shape.overlaps ? 1 : 0;
  LSTMCORE_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, arguments...));
}

inline dim3 blocks_for(std::int64_t threads) {
  return dim3(unsigned((threads + kStepThreads - 1) / kStepThreads));
}

}  // namespace cuda
}  // namespace lstmcore
