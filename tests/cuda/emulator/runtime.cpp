// Devices, memory, streams and graphs of the emulator. Two devices, so that mixing them up can be tested.
// A status that is asked for (faults.h) comes as from CUDA: a broken device answers every call with it.
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

#include "faults.h"
#include "overlap.h"

namespace emulator {

struct Stream {
  Graph* capture = nullptr;
  int device = 0;
};
struct Event {
  int device;
};
struct Graph {
  std::vector<Work> work;
};

namespace {

constexpr std::size_t kMemory = std::size_t{1} << 30;  // of a device
thread_local int current_device = 0;
std::mutex mutex;
struct Allocation {
  std::size_t bytes;
  int device;
};
std::map<char*, Allocation> allocations;
std::size_t allocated = 0, memory_limit = kMemory;
Stream default_streams[2] = {{nullptr, 0}, {nullptr, 1}};
int waits = 0;
cudaError_t next_fault = cudaSuccess, broken = cudaSuccess;

// Null, 1 and 2 are the default streams of the current device.
Stream* real(Stream* stream) {
  return reinterpret_cast<std::uintptr_t>(stream) > 2 ? stream : &default_streams[current_device];
}

cudaError_t enqueue(Stream* stream, Work work) {
  if (broken) return broken;
  if (real(stream)->capture)
    real(stream)->capture->work.push_back(std::move(work));
  else
    play(real(stream), work);
  return cudaSuccess;
}

// How a call goes: as the device is, or as a test wants it.
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
  allocations.erase(found);
  std::free(memory);
  return cudaSuccess;
}

}  // namespace

cudaError_t enqueue(Stream* stream, std::function<void()> work) {
  return enqueue(stream, Work{std::move(work)});
}
cudaError_t enqueue_kernel(Stream* stream, std::function<void()> kernel, bool overlaps) {
  if (real(stream)->device != current_device) return cudaErrorInvalidResourceHandle;
  const auto run = [kernel = std::move(kernel)] {
    kernel();
    if (next_fault) broken = next_fault;
  };
  return enqueue(stream, Work{run, true, overlaps});
}

}  // namespace emulator

using namespace emulator;

void emulator_limit_memory(std::size_t bytes) { memory_limit = bytes ? bytes : kMemory; }
std::size_t emulator_allocated() { return allocated; }
int emulator_allocations() {
  const std::lock_guard<std::mutex> lock(mutex);
  return int(allocations.size());
}
void emulator_break(int status) {
  next_fault = cudaError_t(status);
  if (!status) broken = cudaSuccess;
}
int emulator_waits() { return waits; }
void* emulator_make_stream(int device) { return new Stream{nullptr, device}; }
int emulator_begin_capture(void* stream) {
  return cudaStreamBeginCapture(static_cast<cudaStream_t>(stream), cudaStreamCaptureModeThreadLocal);
}
int emulator_end_capture(void* stream) {
  cudaGraph_t graph = nullptr;
  const cudaError_t status = cudaStreamEndCapture(static_cast<cudaStream_t>(stream), &graph);
  delete graph;
  return status;
}

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

cudaError_t cudaMalloc(void** memory, std::size_t bytes) { return allocate(memory, bytes); }
cudaError_t cudaFree(void* memory) { return release(memory); }
cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t stream) {
  return real(stream)->capture ? cudaErrorStreamCaptureUnsupported : allocate(memory, bytes);
}
cudaError_t cudaFreeAsync(void* memory, cudaStream_t) { return release(memory); }
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
  const std::lock_guard<std::mutex> lock(mutex);
  auto* at = const_cast<char*>(static_cast<const char*>(memory));
  auto after = allocations.upper_bound(at);
  *attributes = {cudaMemoryTypeUnregistered, -1};
  if (after == allocations.begin()) return cudaSuccess;
  --after;
  if (at < after->first + after->second.bytes) *attributes = {cudaMemoryTypeDevice, after->second.device};
  return cudaSuccess;
}
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
  if (broken) return broken;
  std::memmove(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t bytes, std::size_t rows, cudaMemcpyKind, cudaStream_t stream) {
  if (bytes > to_pitch || bytes > from_pitch) return cudaErrorInvalidValue;
  return enqueue(stream, [=] {
    for (std::size_t row = 0; row < rows; ++row)
      std::memmove(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch,
                   bytes);
  });
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
  *stream = new Stream{nullptr, current_device};
  return broken;
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
  ++waits;
  if (broken) return broken;
  return real(stream)->capture ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new Event{current_device};
  return broken;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (broken) return broken;
  return event->device == real(stream)->device ? cudaSuccess : cudaErrorInvalidResourceHandle;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  flush();
  return broken;
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
  for (const Work& work : executable->work)
    if (const cudaError_t status = enqueue(stream, work)) return status;
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
