#include "persistent_kernel.h"

namespace lstmcore {
namespace cuda {

template <class S>
void launch_block(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream) {
  if (args.tiling.several_tiles())
    launch_rows<S, BlockExchange, true>(plan, args, stream);
  else
    launch_rows<S, BlockExchange>(plan, args, stream);
}
template void launch_block<float>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);
template void launch_block<float16>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);
template void launch_block<bfloat16>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);

}  // namespace cuda
}  // namespace lstmcore
