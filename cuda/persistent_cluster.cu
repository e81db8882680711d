#include "persistent_kernel.h"

namespace lstmcore {
namespace cuda {

template <class S>
void launch_cluster(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream) {
  launch_rows<S, ClusterExchange>(plan, args, stream);
}
template void launch_cluster<float>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);
template void launch_cluster<float16>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);
template void launch_cluster<bfloat16>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);

}  // namespace cuda
}  // namespace lstmcore
