// Graphs of the emulator: nodes that allocate and free memory, objects that graphs keep, launches.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "faults.h"
#include "state.h"

namespace emulator {

namespace {

// A node whose memory, at one address for all launches, holds garbage when it is reached and after it is
// freed.
cudaError_t allocation_node(void** memory, std::size_t bytes, CaptureState& capture) {
  if (capture.invalid) return cudaErrorStreamCaptureInvalidated;
  Graph& graph = *capture.graph;
  auto piece = std::find_if(graph.closed.begin(), graph.closed.end(),
                            [bytes](const auto& each) { return each.second >= bytes; });
  if (piece != graph.closed.end()) {
    *memory = piece->first;
    graph.open.insert(graph.closed.extract(piece));
  } else {
    if (const cudaError_t status = allocate(memory, bytes)) return invalidate(capture, status);
    graph.kept.push_back(std::make_shared<UserObject>([at = *memory] { release(at); }));
    graph.open[*memory] = bytes;
  }
  graph.has_memory_nodes = true;
  graph.work.push_back(Work{[at = *memory, bytes] { std::memset(at, 0xcd, bytes); }});
  return cudaSuccess;
}

cudaError_t free_node(void* memory, CaptureState& capture) {
  if (capture.invalid) return cudaErrorStreamCaptureInvalidated;
  Graph& graph = *capture.graph;
  const auto found = graph.open.find(memory);
  if (found == graph.open.end()) return invalidate(capture, cudaErrorInvalidValue);
  graph.work.push_back(Work{[memory, bytes = found->second] { std::memset(memory, 0xdd, bytes); }});
  graph.closed.insert(graph.open.extract(found));
  return cudaSuccess;
}

}  // namespace

bool is_shared(Stream* stream, const void* memory) {
  const auto& capture = real(stream)->capture;
  if (!capture || !capture->graph->has_memory_nodes) return false;
  const auto& open = capture->graph->open;
  return std::none_of(open.begin(), open.end(), [at = static_cast<const char*>(memory)](const auto& piece) {
    const auto* from = static_cast<const char*>(piece.first);
    return at >= from && at < from + piece.second;
  });
}

}  // namespace emulator

using namespace emulator;

int emulator_end_capture(void* stream, void** executable) {
  cudaGraph_t graph = nullptr;
  *executable = nullptr;
  if (const cudaError_t status = cudaStreamEndCapture(static_cast<cudaStream_t>(stream), &graph))
    return status;
  const cudaError_t status = cudaGraphInstantiate(reinterpret_cast<cudaGraphExec_t*>(executable), graph, 0);
  cudaGraphDestroy(graph);
  return status;
}
int emulator_launch(void* executable, void* stream) {
  return cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable), static_cast<cudaStream_t>(stream));
}
void emulator_destroy(void* executable) { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable)); }

cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t stream) {
  Stream* on = real(stream);
  if (const cudaError_t status = implicit(on)) return status;
  return on->capture ? allocation_node(memory, bytes, *on->capture) : allocate(memory, bytes);
}
struct EmulatedPool {};
cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps*) {
  if (const cudaError_t status = injected("cudaMemPoolCreate")) return status;
  *pool = new EmulatedPool;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) {
  return injected("cudaMemPoolSetAttribute");
}
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  delete pool;
  return cudaSuccess;
}
// The stream may be of another device than the pool.
cudaError_t cudaMallocFromPoolAsync(void** memory, std::size_t bytes, cudaMemPool_t, cudaStream_t stream) {
  return cudaMallocAsync(memory, bytes, stream);
}
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  Stream* on = real(stream);
  if (const cudaError_t status = implicit(on)) return status;
  return on->capture ? free_node(memory, *on->capture) : release(memory);
}

// A graph with memory nodes has one executable at a time.
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  if (const cudaError_t status = injected("cudaGraphInstantiate")) return status;
  if (graph->has_memory_nodes && graph->instantiated) return cudaErrorNotSupported;
  graph->instantiated = true;
  *executable = new Graph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (const cudaError_t status = injected("cudaGraphLaunch")) return status;
  if (!executable->open.empty() && executable->launched)
    return cudaErrorInvalidValue;  // memory it left behind
  executable->launched = true;
  for (const Work& work : executable->work)
    if (const cudaError_t status = enqueue(stream, work)) return status;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  flush();
  delete executable;
  return cudaSuccess;
}

// Reference counts are those of the shared pointers that graphs hold; the creator's is the one in `mine`.
namespace emulator {
struct UserObjectHandle {
  std::shared_ptr<UserObject> mine;
};
}  // namespace emulator
cudaError_t cudaUserObjectCreate(cudaUserObject_t* object, void* data, cudaHostFn_t destroy, unsigned count,
                                 unsigned flags) {
  if (const cudaError_t status = injected("cudaUserObjectCreate")) return status;
  if (count != 1 || flags != cudaUserObjectNoDestructorSync) return cudaErrorInvalidValue;
  // On a thread of CUDA's own.
  *object =
      new UserObjectHandle{std::make_shared<UserObject>([=] { std::thread([=] { destroy(data); }).join(); })};
  return cudaSuccess;
}
cudaError_t cudaUserObjectRelease(cudaUserObject_t object, unsigned) {
  delete object;
  return cudaSuccess;
}
cudaError_t cudaGraphRetainUserObject(cudaGraph_t graph, cudaUserObject_t object, unsigned count,
                                      unsigned flags) {
  if (const cudaError_t status = injected("cudaGraphRetainUserObject")) return status;
  if (count != 1 || flags != cudaGraphUserObjectMove) return cudaErrorInvalidValue;
  graph->kept.push_back(std::move(object->mine));
  delete object;
  return cudaSuccess;
}
