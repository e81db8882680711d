#include "persistent_kernel.h"

namespace lstmcore {
namespace cuda {

template <class S>
void launch_grid(const lstmcore_cuda_plan& plan, const PersistentArgs& args, cudaStream_t stream) {
  launch_rows<S, GridExchange>(plan, args, stream);
}
template void launch_grid<float>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);
template void launch_grid<float16>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);
template void launch_grid<bfloat16>(const lstmcore_cuda_plan&, const PersistentArgs&, cudaStream_t);

}  // namespace cuda
}  // namespace lstmcore
