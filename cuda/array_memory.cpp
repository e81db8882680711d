#include "array_memory.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "capture.h"

namespace lstmcore {
namespace cuda {
namespace {

// Memory that a graph uses.
struct GraphMemory {
  explicit GraphMemory(std::size_t bytes) : memory(bytes) {}
  DeviceMemory memory;
  bool array_gone = false;
  std::atomic<bool> graph_gone{false};
};

struct LateRelease {
  void* data;
  cudaStream_t stream;
  int device;
};

// Of the process, as a graph may outlive all that made it.
struct Records {
  std::mutex mutex;
  std::map<const void*, std::unique_ptr<GraphMemory>> of_graphs;  // by address
  std::vector<LateRelease> late;
  std::atomic<bool> some_gone{false};  // of `of_graphs`
};

Records& records() {
  static auto* const all = new Records;  // never destroyed: CUDA destroys graphs while the process ends, too
  return *all;
}

// CUDA calls this on a thread of its own, in which nothing of CUDA may be called.
void CUDART_CB graph_is_gone(void* memory) {
  static_cast<GraphMemory*>(memory)->graph_gone = true;
  records().some_gone = true;
}

void* allocate_for_graph(std::size_t bytes, cudaGraph_t graph) {
  auto memory = std::make_unique<GraphMemory>(bytes);
  void* const data = memory->memory.as<void>();
  cudaUserObject_t user = nullptr;
  LSTMCORE_CUDA_CHECK(
      cudaUserObjectCreate(&user, memory.get(), graph_is_gone, 1, cudaUserObjectNoDestructorSync));
  const cudaError_t status = cudaGraphRetainUserObject(graph, user, 1, cudaGraphUserObjectMove);
  memory->array_gone = status != cudaSuccess;
  {
    Records& all = records();
    const std::lock_guard<std::mutex> lock(all.mutex);
    all.of_graphs.emplace(data, std::move(memory));
  }
  if (status != cudaSuccess) cudaUserObjectRelease(user, 1);
  check(status, "cudaGraphRetainUserObject");
  return data;
}

bool is_captured(cudaStream_t stream) noexcept {
  try {
    return capture_of(stream).active;
  } catch (const Error&) {
    return false;  // the device is broken, and what comes next says so
  }
}

void free_what_is_gone(Records& all, int device) {
  if (all.some_gone.exchange(false))
    for (auto each = all.of_graphs.begin(); each != all.of_graphs.end();)
      each =
          each->second->array_gone && each->second->graph_gone ? all.of_graphs.erase(each) : std::next(each);
  const auto free = std::partition(all.late.begin(), all.late.end(), [device](const LateRelease& memory) {
    return memory.device != device || is_captured(memory.stream);
  });
  for (auto memory = free; memory != all.late.end(); ++memory) cudaFreeAsync(memory->data, memory->stream);
  all.late.erase(free, all.late.end());
}

}  // namespace

void* allocate_array(int device, std::size_t bytes, cudaStream_t stream) {
  release_late_arrays(device);
  bytes = std::max<std::size_t>(bytes, 1);  // an empty array has an address too
  const Capture capture = open_capture_of(stream);
  if (capture.active) return allocate_for_graph(bytes, capture.graph);
  void* memory = nullptr;
  LSTMCORE_CUDA_CHECK(cudaMallocAsync(&memory, bytes, stream));
  return memory;
}

void release_array(int device, void* memory, cudaStream_t stream) {
  {
    Records& all = records();
    const std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.of_graphs.find(memory);
    if (found != all.of_graphs.end()) {
      found->second->array_gone = true;
      if (found->second->graph_gone) all.some_gone = true;
    } else if (is_captured(stream)) {
      all.late.push_back({memory, stream, device});
    } else {
      LSTMCORE_CUDA_CHECK(cudaFreeAsync(memory, stream));
    }
  }
  release_late_arrays(device);
}

void release_late_arrays(int device) noexcept {
  Records& all = records();
  const std::lock_guard<std::mutex> lock(all.mutex);
  if (all.some_gone || !all.late.empty()) free_what_is_gone(all, device);
}

}  // namespace cuda
}  // namespace lstmcore
