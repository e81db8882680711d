// Launches a persistent kernel as its path needs it.
#pragma once

#include "persistent.h"
#include "status.h"

namespace lstmcore {
namespace cuda {

constexpr int kPortableCluster = 8;  // blocks of a cluster that every device with clusters has

inline void launch(void (*kernel)(PersistentArgs), const lstmcore_cuda_plan& plan, const PersistentArgs& args,
                   cudaStream_t stream) {
  const void* untyped = reinterpret_cast<const void*>(kernel);
  LSTMCORE_CUDA_CHECK(
      cudaFuncSetAttribute(untyped, cudaFuncAttributeMaxDynamicSharedMemorySize, int(plan.shared_bytes)));
  cudaLaunchAttribute attribute{};
  if (plan.path == LSTMCORE_CUDA_CLUSTER) {
    if (plan.blocks_per_group > kPortableCluster)
      LSTMCORE_CUDA_CHECK(cudaFuncSetAttribute(untyped, cudaFuncAttributeNonPortableClusterSizeAllowed, 1));
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {unsigned(plan.blocks_per_group), 1, 1};
  } else {
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = plan.path == LSTMCORE_CUDA_GRID;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(unsigned(plan.groups) * unsigned(plan.blocks_per_group));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = plan.shared_bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  LSTMCORE_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, args));
}

}  // namespace cuda
}  // namespace lstmcore
