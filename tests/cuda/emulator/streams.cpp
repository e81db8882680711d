// Streams and events of the emulator, with CUDA's rules of what may be called while a stream is being
// captured (CUDA C++ Programming Guide, "Prohibited and Unhandled Operations"; the runtime's reference, at
// cudaThreadExchangeStreamCaptureMode). What breaks a rule fails, and the capture with it.
#include <cuda_runtime.h>

#include <atomic>
#include <map>
#include <mutex>
#include <utility>

#include "faults.h"
#include "state.h"

namespace emulator {

namespace {

std::recursive_mutex mutex;
Stream default_streams[2] = {{0, false, nullptr}, {1, false, nullptr}};
std::map<unsigned long long, std::weak_ptr<CaptureState>> captures;  // by id
unsigned long long next_id = 1;
thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;
std::atomic<int> waits{0}, host_waits{0}, events{0};
unsigned long long hold = 0, holds = 0;  // the present one, or 0; how many there were

// Those that are going on now.
template <class F>
void each_capture(const F& function) {
  for (auto entry = captures.begin(); entry != captures.end();)
    if (const auto capture = entry->second.lock(); capture && capture->origin) {
      function(*capture);
      ++entry;
    } else {
      entry = captures.erase(entry);
    }
}

// The stream's work so far has been done, so far as it is not held back.
bool has_passed(const Event& event) { return event.held == 0 || event.held != hold; }

bool takes_blocking(const CaptureState& capture) { return capture.origin->blocking; }

}  // namespace

cudaError_t invalidate(CaptureState& capture, cudaError_t status) {
  capture.invalid = true;
  return status;
}

Stream* real(Stream* stream) {
  return reinterpret_cast<std::uintptr_t>(stream) > 2 ? stream : &default_streams[current_device];
}
bool is_default(const Stream* stream) {
  return stream == &default_streams[0] || stream == &default_streams[1];
}

cudaError_t unsafe() {
  if (thread_mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  cudaError_t status = cudaSuccess;
  each_capture([&](CaptureState& capture) {
    const bool mine = capture.thread == std::this_thread::get_id();
    const bool forbids =
        mine ? capture.mode != cudaStreamCaptureModeRelaxed
             : capture.mode == cudaStreamCaptureModeGlobal && thread_mode == cudaStreamCaptureModeGlobal;
    if (forbids) status = invalidate(capture, cudaErrorStreamCaptureUnsupported);
  });
  return status;
}

cudaError_t implicit(const Stream* stream) {
  if (!is_default(stream)) return cudaSuccess;
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  cudaError_t status = cudaSuccess;
  each_capture([&](CaptureState& capture) {
    if (takes_blocking(capture)) status = invalidate(capture, cudaErrorStreamCaptureImplicit);
  });
  return status;
}

cudaError_t enqueue(Stream* stream, Work work) {
  if (broken) return broken;
  Stream* to = real(stream);
  if (const cudaError_t status = implicit(to)) return status;
  if (!to->capture) {
    play(to, work);
    return cudaSuccess;
  }
  if (to->capture->invalid) return cudaErrorStreamCaptureInvalidated;
  if (to != to->capture->origin) to->capture->others[to] = false;
  to->capture->graph->work.push_back(std::move(work));
  return cudaSuccess;
}

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

int emulator_waits() { return waits; }
int emulator_host_waits() { return host_waits; }
int emulator_events() { return events; }
void emulator_hold(int on) { hold = on ? ++holds : 0; }
void* emulator_make_stream(int device) { return new Stream{device, false, nullptr}; }
void* emulator_make_blocking_stream(int device) { return new Stream{device, true, nullptr}; }
int emulator_begin_capture(void* stream, int mode) {
  return cudaStreamBeginCapture(static_cast<cudaStream_t>(stream), cudaStreamCaptureMode(mode));
}
int emulator_wait(void* stream, void* earlier) {
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  cudaError_t status = cudaEventRecord(event, static_cast<cudaStream_t>(earlier));
  if (!status) status = cudaStreamWaitEvent(static_cast<cudaStream_t>(stream), event, 0);
  cudaEventDestroy(event);
  return status;
}
int emulator_unsafe_call() {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, 1);
  cudaFree(memory);
  return status;
}
cudaError_t cudaDeviceSynchronize() {
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  cudaError_t status = cudaSuccess;
  each_capture([&](CaptureState& capture) {
    if (capture.origin->device == current_device)
      status = invalidate(capture, cudaErrorStreamCaptureUnsupported);
  });
  if (status) return status;
  hold = 0;
  flush();
  return injected("cudaDeviceSynchronize");
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  *stream = new Stream{current_device, flags != cudaStreamNonBlocking, nullptr};
  return broken;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Stream* on = real(stream);
  if (const cudaError_t status = implicit(on)) return status;
  if (on->capture) return invalidate(*on->capture, cudaErrorStreamCaptureUnsupported);
  if (const cudaError_t status = unsafe()) return status;
  ++host_waits;
  hold = 0;
  flush();
  return injected("cudaStreamSynchronize");
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, thread_mode);
  return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo_v2(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                        unsigned long long* id, cudaGraph_t* graph) {
  if (broken) return broken;
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  const Stream* of = real(stream);
  bool waited_for = false;
  if (is_default(of)) each_capture([&](CaptureState& capture) { waited_for |= takes_blocking(capture); });
  if (waited_for) return cudaErrorStreamCaptureImplicit;
  *status = !of->capture           ? cudaStreamCaptureStatusNone
            : of->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                   : cudaStreamCaptureStatusActive;
  if (*status != cudaStreamCaptureStatusActive) return cudaSuccess;
  *id = of->capture->id;
  *graph = of->capture->graph.get();
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (is_default(real(stream)) || stream->capture) return cudaErrorStreamCaptureUnsupported;
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  stream->capture = std::make_shared<CaptureState>();
  *stream->capture = {next_id++, mode, std::this_thread::get_id(), stream, std::make_unique<Graph>(),
                      false,     {}};
  captures[stream->capture->id] = stream->capture;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!stream->capture) return cudaErrorIllegalState;
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  if (stream->capture->origin != stream) return cudaErrorStreamCaptureUnmatched;
  if (stream->capture->mode != cudaStreamCaptureModeRelaxed &&
      stream->capture->thread != std::this_thread::get_id())
    return cudaErrorStreamCaptureWrongThread;
  const auto capture = std::exchange(stream->capture, nullptr);
  capture->origin = nullptr;
  bool joined = true;
  for (const auto& other : capture->others) {
    other.first->capture = nullptr;
    joined = joined && other.second;
  }
  if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
  if (!joined) return cudaErrorStreamCaptureUnjoined;
  *graph = capture->graph.release();
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  ++waits;
  if (broken) return broken;
  Stream* on = real(stream);
  if (const cudaError_t status = implicit(on)) return status;
  const auto recorded_in = event->capture.lock();
  if (!event->was_captured) {
    if (!on->capture) return cudaSuccess;
    return invalidate(*on->capture, cudaErrorStreamCaptureIsolation);
  }
  if (!recorded_in || !recorded_in->origin) return cudaErrorCapturedEvent;  // its capture is over
  if (is_default(on)) return invalidate(*recorded_in, cudaErrorStreamCaptureImplicit);
  if (on->capture && on->capture != recorded_in) return invalidate(*on->capture, cudaErrorStreamCaptureMerge);
  if (const auto other = recorded_in->others.find(event->stream); other != recorded_in->others.end())
    other->second = true;
  on->capture = recorded_in;  // it is captured from here on
  if (on != recorded_in->origin) recorded_in->others[on] = false;
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  if (const cudaError_t status = injected("cudaEventCreateWithFlags")) return status;
  *event = new Event;
  ++events;
  (*event)->device = current_device;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (broken) return broken;
  Stream* on = real(stream);
  if (const cudaError_t status = implicit(on)) return status;
  if (event->device != on->device) return cudaErrorInvalidResourceHandle;
  event->stream = on;
  event->capture = on->capture;
  event->was_captured = on->capture != nullptr;
  event->held = hold;
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (broken) return broken;
  if (event->was_captured) return cudaErrorCapturedEvent;
  if (const cudaError_t status = unsafe()) return status;
  if (!has_passed(*event)) return cudaErrorNotReady;
  flush();
  return broken;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->was_captured) return cudaErrorCapturedEvent;
  if (const cudaError_t status = unsafe()) return status;
  ++host_waits;
  hold = 0;
  flush();
  return broken;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  --events;
  return cudaSuccess;
}
