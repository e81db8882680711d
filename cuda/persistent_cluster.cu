#include "persistent_kernel.h"

namespace lstmcore {
namespace cuda {

int largest_cluster(int most, std::size_t shared_per_block) {
  if (most < 2) return most;  // there may be no such kernel for the device
  const auto* kernel = reinterpret_cast<const void*>(persistent_kernel<float, 1, ClusterExchange, false>);
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_per_block));
  if (most > kPortableCluster)
    cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  int blocks = most;
  for (; blocks > 1; --blocks) {
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {unsigned(blocks), 1, 1};
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(unsigned(blocks));
    config.blockDim = dim3(kThreads);
    config.dynamicSmemBytes = shared_per_block;
    config.attrs = &attribute;
    config.numAttrs = 1;
    int clusters = 0;
    if (cudaOccupancyMaxActiveClusters(&clusters, kernel, &config) == cudaSuccess && clusters > 0) break;
  }
  cudaGetLastError();  // a size that cannot be is no error of a later launch
  return blocks;
}

template <class S>
void launch_cluster(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream) {
  launch_rows<S, ClusterExchange>(plan, args, stream);
}
template void launch_cluster<float>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);
template void launch_cluster<float16>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);
template void launch_cluster<bfloat16>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);

}  // namespace cuda
}  // namespace lstmcore
