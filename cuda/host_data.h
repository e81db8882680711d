// Host data that a call brings along.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

namespace lstmcore {
namespace cuda {

// Enqueues kernels with the data in their arguments: it is read before this returns, nothing waits for the
// device, and where the stream is being captured the graph holds it. For small data: 2 KB a launch. `bytes`
// and both addresses are divisible by 4. Throws Error.
void write_from_host(void* to, const void* from, std::size_t bytes, cudaStream_t stream);

}  // namespace cuda
}  // namespace lstmcore
