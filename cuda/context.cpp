#include "context.h"

#include <algorithm>
#include <cstdio>

#include "capture.h"
#include "persistent.h"
#include "stepwise.h"

namespace lstmcore {
namespace cuda {
namespace {

int attribute(cudaDeviceAttr name, int index) {
  int value = 0;
  LSTMCORE_CUDA_CHECK(cudaDeviceGetAttribute(&value, name, index));
  return value;
}

// Before any member needs the device.
int checked_index(int index) {
  int count = 0;
  LSTMCORE_CUDA_CHECK(cudaGetDeviceCount(&count));
  if (index < 0 || index >= count)
    throw Error(LSTMCORE_CUDA_INVALID, "device: there is no cuda:" + std::to_string(index) + ", only " +
                                           std::to_string(count) + " GPU(s)");
  LSTMCORE_CUDA_CHECK(cudaSetDevice(index));
  return index;
}

}  // namespace

lstmcore_cuda_device describe_device(int index) {
  int count = 0;
  LSTMCORE_CUDA_CHECK(cudaGetDeviceCount(&count));
  if (index < 0 || index >= count)
    throw Error(LSTMCORE_CUDA_INVALID, "device: there is no cuda:" + std::to_string(index));
  cudaDeviceProp properties{};
  LSTMCORE_CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  lstmcore_cuda_device device{};
  std::snprintf(device.name, sizeof device.name, "%s", properties.name);
  device.compute_major = properties.major;
  device.compute_minor = properties.minor;
  device.multiprocessors = properties.multiProcessorCount;
  // 16 need an attribute of the kernel; sm_120 has no more than 8.
  device.max_cluster = properties.major < 9 ? 1 : properties.major >= 12 ? 8 : 16;
  device.cooperative = attribute(cudaDevAttrCooperativeLaunch, index);
  device.shared_per_block = std::size_t(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, index));
  device.memory = properties.totalGlobalMem;
  return device;
}

Context::Context(int device, const char* cublas)
    : index_(checked_index(device)),
      device_(describe_device(device)),
      products_(cublas),
      overlaps_(device_.compute_major >= 9 && kernels_can_wait()) {
  device_.max_cluster = largest_cluster(device_.max_cluster, device_.shared_per_block);
}

Context::~Context() { wait(); }

void Context::wait() const noexcept {
  if (used_) cudaEventSynchronize(last_.get());
}

void Context::check_fault() {
  volatile int* fault = fault_.get();
  if (!*fault) return;
  *fault = 0;
  throw Error(
      LSTMCORE_CUDA_FAILED,
      "a persistent kernel waited too long for its neighbours, and stopped; its outputs are not valid");
}

// An event is of one device, and so must be the stream that records it.
void Context::check_stream(cudaStream_t stream) {
  if (!stream || stream == known_stream_) return;
  const Event event;
  const cudaError_t status = cudaEventRecord(event.get(), stream);
  if (status == cudaErrorInvalidResourceHandle) {
    cudaGetLastError();
    throw Error(LSTMCORE_CUDA_INVALID, "stream: not a stream of cuda:" + std::to_string(index_));
  }
  check(status, "cudaEventRecord");
  known_stream_ = stream;
}

Context::Call::Call(Context& context, cudaStream_t stream)
    : context_(context), lock_(context.mutex_), guard_(context.index_), stream_(stream) {
  captured_ = open_capture_of(stream).active;
  context.check_fault();
  if (!captured_) context.check_stream(stream);
  if (context.used_ && !captured_) LSTMCORE_CUDA_CHECK(cudaStreamWaitEvent(stream, context.last_.get(), 0));
}

Context::Call::~Call() {
  if (captured_) {
    context_.products_.use_workspace(nullptr);
    if (graph_memory_) cudaFreeAsync(graph_memory_, stream_);
    return;
  }
  // Where the call failed half-way, too: what it has enqueued uses the scratch memory.
  context_.used_ = cudaEventRecord(context_.last_.get(), stream_) == cudaSuccess || context_.used_;
}

char* Context::Call::scratch(std::size_t bytes, bool needed) {
  Context& context = context_;
  if (!captured_ && bytes <= context.scratch_.bytes()) return context.scratch_.as<char>();
  if (bytes >= context.refused_ && !needed) return nullptr;
  if (captured_) return graph_scratch(bytes);
  if (context.used_) LSTMCORE_CUDA_CHECK(cudaEventSynchronize(context.last_.get()));
  context.scratch_ = DeviceMemory();
  ++context.generation_;
  try {
    context.scratch_ = DeviceMemory(bytes);
  } catch (const Error& error) {
    if (error.status != LSTMCORE_CUDA_OUT_OF_MEMORY || needed) throw;
    context.refused_ = std::min(context.refused_, bytes);
    return nullptr;
  }
  return context.scratch_.as<char>();
}

// Nodes of the graph, here and in the destructor: graphs share such memory where they cannot run side by
// side.
char* Context::Call::graph_scratch(std::size_t bytes) {
  Products& products = context_.products_;
  LSTMCORE_CUDA_CHECK(cudaMallocAsync(&graph_memory_, bytes + products.workspace_bytes(), stream_));
  char* const memory = static_cast<char*>(graph_memory_);
  products.use_workspace(memory + bytes);
  return memory;
}

}  // namespace cuda
}  // namespace lstmcore
