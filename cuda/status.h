// The one place where statuses of CUDA and cuBLAS become exceptions, and the owners of what CUDA hands out.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "cublas_functions.h"
#include "lstmcore/cuda_abi.h"

namespace lstmcore {
namespace cuda {

struct Error : std::runtime_error {
  Error(lstmcore_cuda_status status, const std::string& what) : std::runtime_error(what), status(status) {}
  lstmcore_cuda_status status;
};

// After these every call fails, in this process: a kernel has gone wrong.
inline bool is_sticky(cudaError_t status) {
  return status == cudaErrorIllegalAddress || status == cudaErrorLaunchTimeout || status == cudaErrorAssert ||
         (status >= cudaErrorHardwareStackError && status <= cudaErrorLaunchFailure);
}

// Why there is no GPU to use, in a sentence. CUDA calls a driver too old where there is none, too.
inline std::string unavailable_text(cudaError_t status) {
  if (status == cudaErrorNoDevice) return "there is no GPU";
  int driver = 0;
  cudaDriverGetVersion(&driver);
  if (driver == 0) return "NVIDIA's driver is not installed";
  return "NVIDIA's driver is too old: it is for CUDA " + std::to_string(driver / 1000) + "." +
         std::to_string(driver % 1000 / 10) + ", needed is CUDA " + std::to_string(CUDART_VERSION / 1000) +
         " or newer";
}

// What CUDA's own words leave out.
inline const char* advice(cudaError_t status) {
  if (status == cudaErrorInitializationError)
    return "; a process that was forked from one which had used CUDA cannot use it: start it by spawn or "
           "forkserver";
  return is_sticky(status) ? "; CUDA works again when the process is restarted" : "";
}

inline void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // so that an error which is over does not turn up at the next launch
  if (status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver)
    throw Error(LSTMCORE_CUDA_UNAVAILABLE, unavailable_text(status));
  const auto kind = status == cudaErrorMemoryAllocation ? LSTMCORE_CUDA_OUT_OF_MEMORY : LSTMCORE_CUDA_FAILED;
  throw Error(kind, std::string(call) + ": " + cudaGetErrorName(status) + ": " + cudaGetErrorString(status) +
                        advice(status));
}
#define LSTMCORE_CUDA_CHECK(call) ::lstmcore::cuda::check((call), #call)

inline const char* cublas_status_text(int status) {
  switch (status) {
    case kCublasNotInitialized:
      return "not initialized (is there a working GPU?)";
    case kCublasAllocFailed:
      return "out of memory";
    case kCublasInvalidValue:
      return "invalid value";
    case kCublasArchMismatch:
      return "not for this architecture";
    case kCublasExecutionFailed:
      return "execution failed";
    case kCublasInternalError:
      return "internal error";
    case kCublasNotSupported:
      return "not supported";
    default:
      return "failed";
  }
}

inline void check_cublas(int status, const char* call) {
  if (status == kCublasSuccess) return;
  throw Error(status == kCublasAllocFailed ? LSTMCORE_CUDA_OUT_OF_MEMORY : LSTMCORE_CUDA_FAILED,
              std::string(call) + ": " + cublas_status_text(status) + " (cuBLAS status " +
                  std::to_string(status) + ")");
}

// While somebody captures a stream into a graph, CUDA refuses some calls in all threads, such as cudaMalloc,
// as a replay would not repeat them. None of this library's needs to be: what it allocates for a captured
// call is either part of the graph or lives as long. While a RelaxedCapture lives, its thread may call them.
class RelaxedCapture {
 public:
  RelaxedCapture() { exchanged_ = cudaThreadExchangeStreamCaptureMode(&mode_) == cudaSuccess; }
  ~RelaxedCapture() {
    if (exchanged_) cudaThreadExchangeStreamCaptureMode(&mode_);
  }
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
  bool exchanged_ = false;
};

// Makes `device` the current one while it lives, with RelaxedCapture.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    LSTMCORE_CUDA_CHECK(cudaGetDevice(&before_));
    if (device != before_) LSTMCORE_CUDA_CHECK(cudaSetDevice(device));
    changed_ = device != before_;
  }
  // For destructors: after a sticky error there is nothing left to be done.
  DeviceGuard(int device, std::nothrow_t) noexcept {
    changed_ =
        cudaGetDevice(&before_) == cudaSuccess && device != before_ && cudaSetDevice(device) == cudaSuccess;
  }
  ~DeviceGuard() {
    if (changed_) cudaSetDevice(before_);
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  RelaxedCapture relaxed_;
  int before_ = 0;
  bool changed_ = false;
};

// Device memory of the current device.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  explicit DeviceMemory(std::size_t bytes) : bytes_(bytes) {
    if (bytes) LSTMCORE_CUDA_CHECK(cudaMalloc(&data_, bytes));
  }
  DeviceMemory(DeviceMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceMemory() { cudaFree(data_); }

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

class Event {
 public:
  Event() { LSTMCORE_CUDA_CHECK(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class Stream {
 public:
  Stream() { LSTMCORE_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// An int of the host that kernels can write to; 0 at first.
class MappedFlag {
 public:
  MappedFlag() {
    LSTMCORE_CUDA_CHECK(cudaHostAlloc(reinterpret_cast<void**>(&flag_), sizeof *flag_, cudaHostAllocMapped));
    *flag_ = 0;
  }
  ~MappedFlag() { cudaFreeHost(flag_); }
  MappedFlag(const MappedFlag&) = delete;
  MappedFlag& operator=(const MappedFlag&) = delete;
  int* get() const { return flag_; }

 private:
  int* flag_ = nullptr;
};

}  // namespace cuda
}  // namespace lstmcore
