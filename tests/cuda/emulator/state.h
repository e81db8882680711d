// What the parts of the emulated runtime share.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <map>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "overlap.h"

namespace emulator {

// A thing that graphs keep, such as memory of their allocation nodes; `destroy` is called when the last is
// gone.
struct UserObject {
  explicit UserObject(std::function<void()> destroy) : destroy(std::move(destroy)) {}
  ~UserObject() { destroy(); }
  std::function<void()> destroy;
};

struct Graph {
  std::vector<Work> work;
  std::vector<std::shared_ptr<UserObject>> kept;
  std::map<void*, std::size_t> open;    // bytes of its allocation nodes that have no free node so far
  std::map<void*, std::size_t> closed;  // and of those that have: later nodes get the same memory
  bool has_memory_nodes = false, instantiated = false, launched = false;
};

struct CaptureState {
  unsigned long long id;
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  Stream* origin;
  std::unique_ptr<Graph> graph;
  bool invalid = false;
  std::map<Stream*, bool>
      others;  // that wait for an event of it; whether they were waited for since their work
};

struct Stream {
  int device = 0;
  bool blocking = false;  // waits for the default stream, which waits for it
  std::shared_ptr<CaptureState> capture;
};

struct Event {
  int device;
  Stream* stream = nullptr;             // that it was last recorded on
  std::weak_ptr<CaptureState> capture;  // and in
  bool was_captured = false;
  unsigned long long held = 0;  // the hold that it was recorded under
};

extern thread_local int current_device;
extern cudaError_t next_fault, broken;

// Null, 1 and 2 are the default stream of the current device.
Stream* real(Stream* stream);
bool is_default(const Stream* stream);

// How a call goes: as the device is, or as a test wants it.
cudaError_t injected(const char* function);
// Whether the thread may call what CUDA calls potentially unsafe; if not, captures have failed with it.
cudaError_t unsafe();
// Whether the default stream may be used: not while a stream is captured that waits for it.
cudaError_t implicit(const Stream* stream);
cudaError_t enqueue(Stream* stream, Work work);
// The capture has failed; `status` for the call that broke it.
cudaError_t invalidate(CaptureState& capture, cudaError_t status);

// Whether graphs with memory of their own would share this memory with others: no node of theirs allocated
// it.
bool is_shared(Stream* stream, const void* memory);

// Device memory.
cudaError_t allocate(void** memory, std::size_t bytes);
cudaError_t release(void* memory);

}  // namespace emulator
