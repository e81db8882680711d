// A device with what the layers of a model share there.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <cstdint>
#include <mutex>

#include "gemm.h"
#include "lstmcore/cuda_abi.h"
#include "status.h"

namespace lstmcore {
namespace cuda {

lstmcore_cuda_device describe_device(int index);

class Context {
 public:
  Context(int device, const char* cublas);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const lstmcore_cuda_device& device() const { return device_; }
  int index() const { return index_; }
  Products& products() { return products_; }
  const Products& products() const { return products_; }
  // Whether kernels may start before the one that they wait for has ended.
  bool overlaps() const { return overlaps_; }
  cudaStream_t capture_stream() const { return capture_stream_.get(); }
  int* fault() const { return fault_.get(); }
  // Throws Error if a persistent kernel gave up waiting since the last time.
  void check_fault();
  // Until the device has done all calls so far, but those in graphs that others have captured.
  void wait() const noexcept;

  // One call: alone on the host, after the calls before it on the device. The scratch memory is its own.
  // Where the caller is capturing the stream, the call becomes a part of a graph that may run at any time and
  // beside others: it waits for nothing, and its scratch memory is allocated and freed by the graph.
  class Call {
   public:
    Call(Context& context, cudaStream_t stream);
    ~Call();
    bool captured() const { return captured_; }
    // At least `bytes`, or null where the device has not so much left. Another address than the last call's
    // means that `generation` has changed. A size that was refused once is refused from then on, so that
    // calls do not give up the memory they have for trying again; unless it is `needed`. Once in a call.
    char* scratch(std::size_t bytes, bool needed);
    std::int64_t generation() const { return context_.generation_; }

   private:
    char* graph_scratch(std::size_t bytes);

    Context& context_;
    std::lock_guard<std::mutex> lock_;
    DeviceGuard guard_;
    cudaStream_t stream_;
    bool captured_ = false;
    void* graph_memory_ = nullptr;
  };

 private:
  void check_stream(cudaStream_t stream);

  int index_;
  lstmcore_cuda_device device_;
  Products products_;
  bool overlaps_;
  DeviceMemory scratch_;
  std::size_t refused_ = SIZE_MAX;
  Event last_;
  std::atomic<bool> used_{false};  // wait() reads it beside calls
  Stream capture_stream_;
  MappedFlag fault_;
  cudaStream_t known_stream_ = nullptr;  // the latest that was found to be of this device
  std::int64_t generation_ = 0;
  std::mutex mutex_;
};

}  // namespace cuda
}  // namespace lstmcore
