#include "initial_h.h"
#include "launch.h"

namespace lstmcore {
namespace cuda {
namespace {

// One thread per unit of a row.
__global__ void __launch_bounds__(kStepThreads) initial_h_kernel(const __grid_constant__ InitialH args) {
  const std::int64_t index = std::int64_t(blockIdx.x) * kStepThreads + threadIdx.x;
  if (index >= args.N * args.H) return;
  const std::int64_t n = index / args.H, unit = index % args.H;
  const std::int64_t position = !args.reverse ? 0 : (args.lengths ? args.lengths[n] : args.T) - 1;
  if (position < args.first || position >= args.first + args.steps) return;
  Pre<float>& to = args.projected[(position - args.first) * args.step + n * args.row + unit];
  to = to + args.product[index];
}

}  // namespace

void add_initial_h(const InitialH& args, cudaStream_t stream) {
  launch(initial_h_kernel, {blocks_for(args.N * args.H)}, stream, args);
}

}  // namespace cuda
}  // namespace lstmcore
