#include "persistent_mma.h"

namespace lstmcore {
namespace cuda {

template <class O>
void launch_mma_block(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream) {
  if (args.tiling.several_tiles())
    launch_tiles<O, BlockExchange, true>(plan, args, stream);
  else
    launch_tiles<O, BlockExchange>(plan, args, stream);
}
template void launch_mma_block<float16>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);
template void launch_mma_block<bfloat16>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);
template void launch_mma_block<tf32>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);
template void launch_mma_block<tf32x3>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);

}  // namespace cuda
}  // namespace lstmcore
