#include "overlap.h"

#include <mutex>
#include <utility>

#include "faults.h"

namespace emulator {
namespace {

constexpr int kMost = 3;  // kernels that are under way at once

std::recursive_mutex mutex;
std::function<void()> pending;  // the last kernels enqueued, which have not run yet
Stream* pending_stream = nullptr;
int pending_count = 0, overlaps = 0;

}  // namespace

void flush() {
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  if (pending) std::exchange(pending, nullptr)();
}

void play(Stream* stream, const Work& work) {
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  if (work.overlaps && pending && pending_stream == stream && pending_count < kMost) {
    pending = [before = std::exchange(pending, nullptr), run = work.run] {
      run_first(before);
      run();
    };
    ++pending_count;
    ++overlaps;
    return;
  }
  flush();
  if (!work.is_kernel) return work.run();
  pending = work.run;
  pending_stream = stream;
  pending_count = 1;
}

}  // namespace emulator

int emulator_overlaps() { return emulator::overlaps; }
