// Devices, memory, streams and graphs of the emulator. Two devices, so that mixing them up can be tested.
#include <cuda_runtime.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "failing.h"
#include "overlap.h"

namespace emulator {

struct Stream {
  Graph* capture = nullptr;
};
struct Graph {
  std::vector<Work> work;
};

namespace {

constexpr std::size_t kMemory = std::size_t{1} << 30;  // of a device
thread_local int current_device = 0;
std::mutex mutex;
std::map<void*, std::size_t> allocations;
std::size_t allocated = 0;
Stream default_stream;

std::size_t memory_limit = kMemory;

Stream* real(Stream* stream) { return stream ? stream : &default_stream; }

cudaError_t enqueue(Stream* stream, Work work) {
  if (real(stream)->capture)
    real(stream)->capture->work.push_back(std::move(work));
  else
    play(real(stream), work);
  return cudaSuccess;
}

cudaError_t injected(const char* function) {
  int status = cudaSuccess;
  return fails(function, &status) ? cudaError_t(status) : cudaSuccess;
}

cudaError_t allocate(void** memory, std::size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (bytes > memory_limit || allocated > memory_limit - bytes) return cudaErrorMemoryAllocation;
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(*memory, 0xcd, bytes);  // garbage, as on a device
  allocations[*memory] = bytes;
  allocated += bytes;
  return cudaSuccess;
}

cudaError_t release(void* memory) {
  if (!memory) return cudaSuccess;
  flush();
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = allocations.find(memory);
  if (found == allocations.end()) return cudaErrorInvalidValue;
  allocated -= found->second;
  allocations.erase(found);
  std::free(memory);
  return cudaSuccess;
}

}  // namespace

cudaError_t enqueue(Stream* stream, std::function<void()> work) {
  return enqueue(stream, Work{std::move(work)});
}
cudaError_t enqueue_kernel(Stream* stream, std::function<void()> kernel, bool overlaps) {
  return enqueue(stream, Work{std::move(kernel), true, overlaps});
}

}  // namespace emulator

using namespace emulator;

void emulator_limit_memory(std::size_t bytes) { memory_limit = bytes ? bytes : kMemory; }
std::size_t emulator_allocated() { return allocated; }

const char* cudaGetErrorName(cudaError_t status) {
  return status == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation"
         : status == cudaErrorIllegalAddress ? "cudaErrorIllegalAddress"
                                             : "cudaError";
}
const char* cudaGetErrorString(cudaError_t status) {
  return status == cudaErrorMemoryAllocation ? "out of memory" : "the emulator refuses this";
}
cudaError_t cudaGetLastError() { return cudaSuccess; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 2;
  return cudaSuccess;
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
cudaError_t cudaDeviceSynchronize() {
  flush();
  return injected("cudaDeviceSynchronize");
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
  const cudaError_t status = injected("cudaMalloc");
  return status ? status : allocate(memory, bytes);
}
cudaError_t cudaFree(void* memory) { return release(memory); }
cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t stream) {
  return real(stream)->capture ? cudaErrorStreamCaptureUnsupported : allocate(memory, bytes);
}
cudaError_t cudaFreeAsync(void* memory, cudaStream_t) { return release(memory); }
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) {
  *memory = std::malloc(bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  flush();
  std::memmove(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  if (const cudaError_t status = injected("cudaMemcpyAsync")) return status;
  return enqueue(stream, [=] { std::memmove(to, from, bytes); });
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  return enqueue(stream, [=] { std::memset(to, value, bytes); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new Stream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  flush();
  return injected("cudaStreamSynchronize");
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = real(stream)->capture ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (!stream || stream->capture) return cudaErrorStreamCaptureUnsupported;
  stream->capture = new Graph;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = stream->capture;
  stream->capture = nullptr;
  return *graph ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t, unsigned) {
  return real(stream)->capture ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new int;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  flush();
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  if (const cudaError_t status = injected("cudaGraphInstantiate")) return status;
  *executable = new Graph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (const cudaError_t status = injected("cudaGraphLaunch")) return status;
  for (const Work& work : executable->work) enqueue(stream, work);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
