// Devices and memory of the emulator. Two devices, so that mixing them up can be tested. A status that is
// asked for (faults.h) comes as from CUDA: a broken device answers every call with it.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "faults.h"
#include "state.h"

namespace emulator {

thread_local int current_device = 0;
cudaError_t next_fault = cudaSuccess, broken = cudaSuccess;

namespace {

constexpr std::size_t kMemory = std::size_t{1} << 30;  // of a device
std::mutex mutex;
struct Allocation {
  std::size_t bytes;
  int device;
};
std::map<char*, Allocation> allocations, pinned;  // pinned: of the host
std::size_t allocated = 0, memory_limit = kMemory;

// The piece of memory that an address is in.
const Allocation* find(const std::map<char*, Allocation>& pieces, const void* memory) {
  auto* at = const_cast<char*>(static_cast<const char*>(memory));
  auto after = pieces.upper_bound(at);
  if (after == pieces.begin()) return nullptr;
  --after;
  return at < after->first + after->second.bytes ? &after->second : nullptr;
}

}  // namespace

cudaError_t injected(const char* function) {
  if (broken) return broken;
  int status = cudaSuccess;
  return fails(function, &status) ? cudaError_t(status) : cudaSuccess;
}

cudaError_t allocate(void** memory, std::size_t bytes) {
  if (const cudaError_t status = injected("cudaMalloc")) return status;
  const std::lock_guard<std::mutex> lock(mutex);
  if (bytes > memory_limit || allocated > memory_limit - bytes) return cudaErrorMemoryAllocation;
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(*memory, 0xcd, bytes);  // garbage, as on a device
  allocations[static_cast<char*>(*memory)] = {bytes, current_device};
  allocated += bytes;
  return cudaSuccess;
}

cudaError_t release(void* memory) {
  if (!memory) return cudaSuccess;
  flush();
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = allocations.find(static_cast<char*>(memory));
  if (found == allocations.end()) return cudaErrorInvalidValue;
  allocated -= found->second.bytes;
  std::memset(memory, 0xdd, found->second.bytes);  // for those who still read it
  allocations.erase(found);
  std::free(memory);
  return cudaSuccess;
}

}  // namespace emulator

using namespace emulator;

void emulator_limit_memory(std::size_t bytes) { memory_limit = bytes ? bytes : kMemory; }
std::size_t emulator_allocated() { return allocated; }
int emulator_allocations() {
  const std::lock_guard<std::mutex> lock(mutex);
  return int(allocations.size());
}
void* emulator_pin(std::size_t bytes) {
  void* memory = nullptr;
  cudaHostAlloc(&memory, bytes, cudaHostAllocMapped);
  return memory;
}
void emulator_break(int status) {
  next_fault = cudaError_t(status);
  if (!status) broken = cudaSuccess;
}

const char* cudaGetErrorName(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
    default:
      return "cudaError";
  }
}
const char* cudaGetErrorString(cudaError_t status) {
  return status == cudaErrorMemoryAllocation ? "out of memory" : "the emulator refuses this";
}
cudaError_t cudaGetLastError() { return cudaSuccess; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 2;
  int driver = 0, status = cudaSuccess;
  cudaDriverGetVersion(&driver);
  if (driver / 1000 < CUDART_VERSION / 1000) return cudaErrorInsufficientDriver;
  return fails("cudaGetDeviceCount", &status) ? cudaError_t(status) : cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device > 1) return cudaErrorInvalidValue;
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveClusters(int* clusters, const void*, const cudaLaunchConfig_t*) {
  *clusters = 1;
  return injected("cudaOccupancyMaxActiveClusters");
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrCooperativeLaunch ? 1 : 227 * 1024;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::snprintf(properties->name, sizeof properties->name, "emulator");
  properties->major = 9;
  properties->minor = 0;
  properties->multiProcessorCount = 16;
  properties->totalGlobalMem = kMemory;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  if (const cudaError_t status = unsafe()) return status;
  return allocate(memory, bytes);
}
cudaError_t cudaFree(void* memory) {
  if (!memory) return cudaSuccess;
  if (const cudaError_t status = unsafe()) return status;
  return release(memory);
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
  const std::lock_guard<std::mutex> lock(mutex);
  *attributes = {cudaMemoryTypeUnregistered, -1};
  if (const Allocation* on_device = find(allocations, memory))
    *attributes = {cudaMemoryTypeDevice, on_device->device};
  else if (find(pinned, memory))
    *attributes = {cudaMemoryTypeHost, 0};
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) {
  if (const cudaError_t status = unsafe()) return status;
  *memory = std::malloc(bytes);
  const std::lock_guard<std::mutex> lock(mutex);
  pinned[static_cast<char*>(*memory)] = {bytes, current_device};
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) {
  if (const cudaError_t status = unsafe()) return status;
  const std::lock_guard<std::mutex> lock(mutex);
  pinned.erase(static_cast<char*>(memory));
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t bytes, std::size_t rows, cudaMemcpyKind, cudaStream_t stream) {
  if (bytes > to_pitch || bytes > from_pitch) return cudaErrorInvalidValue;
  return enqueue(stream, Work{[=] {
                   for (std::size_t row = 0; row < rows; ++row)
                     std::memmove(static_cast<char*>(to) + row * to_pitch,
                                  static_cast<const char*>(from) + row * from_pitch, bytes);
                 }});
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  if (const cudaError_t status = injected("cudaMemcpyAsync")) return status;
  return enqueue(stream, Work{[=] { std::memmove(to, from, bytes); }});
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  return enqueue(stream, Work{[=] { std::memset(to, value, bytes); }});
}
