#include "array_memory.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "capture.h"
#include "graph_keeping.h"

namespace lstmcore {
namespace cuda {
namespace {

struct LateRelease {
  void* data;
  cudaStream_t stream;
  int device;
};

struct Records {
  std::mutex mutex;
  std::map<int, cudaMemPool_t> pools;  // by device
  std::map<void*, std::shared_ptr<DeviceMemory>> of_graphs;
  std::vector<LateRelease> late;
};

Records& records() {
  static auto* const all = new Records;
  return *all;
}

// Memory that was given back stays for the next, up to this. CUDA's own pool gives all of it back to the
// system whenever somebody waits for the device.
constexpr std::uint64_t kKeptBytes = std::uint64_t{256} << 20;

void* allocate_for_graph(std::size_t bytes, cudaGraph_t graph) {
  const auto memory = std::make_shared<DeviceMemory>(bytes);
  keep_for_graph(graph, memory);
  Records& all = records();
  const std::lock_guard<std::mutex> lock(all.mutex);
  all.of_graphs[memory->as<void>()] = memory;
  return memory->as<void>();
}

bool is_captured(cudaStream_t stream) noexcept {
  try {
    return capture_of(stream).active;
  } catch (const Error&) {
    return false;  // the device is broken, and what comes next says so
  }
}

}  // namespace

cudaMemPool_t pool_of(int device) {
  Records& all = records();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto found = all.pools.find(device);
  if (found != all.pools.end()) return found->second;
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = device;
  cudaMemPool_t pool = nullptr;
  LSTMCORE_CUDA_CHECK(cudaMemPoolCreate(&pool, &properties));
  std::uint64_t kept = kKeptBytes;
  const cudaError_t status = cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept);
  if (status != cudaSuccess) cudaMemPoolDestroy(pool);
  check(status, "cudaMemPoolSetAttribute");
  return all.pools[device] = pool;
}

void* allocate_array(int device, std::size_t bytes, cudaStream_t stream) {
  release_late_arrays(device);
  bytes = std::max<std::size_t>(bytes, 1);  // an empty array has an address too
  const Capture capture = open_capture_of(stream);
  if (capture.active) return allocate_for_graph(bytes, capture.graph);
  void* memory = nullptr;
  LSTMCORE_CUDA_CHECK(cudaMallocFromPoolAsync(&memory, bytes, pool_of(device), stream));
  return memory;
}

void release_array(int device, void* data, cudaStream_t stream) {
  std::shared_ptr<DeviceMemory> memory;  // released without the lock, as that may wait for the device
  Records& all = records();
  {
    const std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.of_graphs.find(data);
    if (found != all.of_graphs.end()) {
      memory = std::move(found->second);
      all.of_graphs.erase(found);
    } else if (is_captured(stream)) {
      all.late.push_back({data, stream, device});
    } else {
      LSTMCORE_CUDA_CHECK(cudaFreeAsync(data, stream));
    }
  }
  release_late_arrays(device);
}

void release_late_arrays(int device) noexcept {
  let_go_of_graphs();
  Records& all = records();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto free = std::partition(all.late.begin(), all.late.end(), [device](const LateRelease& memory) {
    return memory.device != device || is_captured(memory.stream);
  });
  for (auto memory = free; memory != all.late.end(); ++memory) cudaFreeAsync(memory->data, memory->stream);
  all.late.erase(free, all.late.end());
}

}  // namespace cuda
}  // namespace lstmcore
