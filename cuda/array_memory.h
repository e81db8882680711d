// Memory of arrays. It belongs to a stream, whose order it is given back in; or, where the stream is being
// captured, to the array and to the captured graph, whichever lives longer: the graph writes to it whenever
// it is launched, and its user reads it then.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

namespace lstmcore {
namespace cuda {

// On `device`, the current one, which the stream is of. Throw Error.
void* allocate_array(int device, std::size_t bytes, cudaStream_t stream);
// What belongs to a stream that is now being captured is given back later, at one of the next calls.
void release_array(int device, void* memory, cudaStream_t stream);
// Of a device, for memory that is ordered by a stream: what is given back stays for the next, up to a limit.
// Throw Error.
cudaMemPool_t pool_of(int device);
// Gives back what had to wait.
void release_late_arrays(int device) noexcept;

}  // namespace cuda
}  // namespace lstmcore
