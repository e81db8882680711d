#include "persistent_mma.h"

namespace lstmcore {
namespace cuda {

template <class O>
void launch_mma_cluster(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream) {
  launch_tiles<O, ClusterExchange>(plan, args, stream);
}
template void launch_mma_cluster<float16>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);
template void launch_mma_cluster<bfloat16>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);
template void launch_mma_cluster<tf32>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);
template void launch_mma_cluster<tf32x3>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);

}  // namespace cuda
}  // namespace lstmcore
