// Whether a stream is being captured into a CUDA graph, and into which.
#pragma once

#include <cuda_runtime.h>

#include "status.h"

namespace lstmcore {
namespace cuda {

struct Capture {
  bool active = false;          // the stream's work goes to a graph; or nowhere, where the capture has failed
  unsigned long long id = 0;    // 0 where there is no graph
  cudaGraph_t graph = nullptr;  // owned by the capture
};

// Throws Error. The default stream counts as captured while one is captured that waits for it: nothing may be
// asked of it then.
inline Capture capture_of(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  Capture capture;
#if CUDART_VERSION >= 13000
  const cudaError_t result = cudaStreamGetCaptureInfo(stream, &status, &capture.id, &capture.graph);
#else
  const cudaError_t result = cudaStreamGetCaptureInfo_v2(stream, &status, &capture.id, &capture.graph);
#endif
  if (result != cudaErrorStreamCaptureImplicit)
    check(result, "cudaStreamGetCaptureInfo");
  else
    cudaGetLastError();
  capture.active = result != cudaSuccess || status != cudaStreamCaptureStatusNone;
  if (result != cudaSuccess || status != cudaStreamCaptureStatusActive) {
    capture.id = 0;
    capture.graph = nullptr;
  }
  return capture;
}

// The same for a stream that is to take work. Throws Error where it cannot.
inline Capture open_capture_of(cudaStream_t stream) {
  const Capture capture = capture_of(stream);
  if (capture.active && !capture.graph)
    throw Error(
        LSTMCORE_CUDA_INVALID,
        "stream: it takes no work, as a capture of it has failed, or as another stream is being captured "
        "that waits for it");
  return capture;
}

// Later work of `stream` waits for the present work of `earlier`. What is captured cannot wait for what is
// not: the host waits for that instead. Nor the other way round: what is captured runs when its graph is
// launched, and is ordered there. Throws Error.
inline void wait_for_stream(cudaStream_t stream, cudaStream_t earlier) {
  const Capture here = capture_of(stream), there = capture_of(earlier);
  const bool together = here.id == there.id && here.active == there.active;
  if (there.active && (!together || !there.id)) return;
  const Event event;
  LSTMCORE_CUDA_CHECK(cudaEventRecord(event.get(), earlier));
  if (together)
    LSTMCORE_CUDA_CHECK(cudaStreamWaitEvent(stream, event.get(), 0));
  else
    LSTMCORE_CUDA_CHECK(cudaEventSynchronize(event.get()));
}

}  // namespace cuda
}  // namespace lstmcore
