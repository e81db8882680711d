#include "workspace.h"

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <new>

#include "lstmcore/runtime.h"

namespace lstmcore {
namespace {

constexpr std::align_val_t kAlignment{64};

std::atomic<std::size_t> all_bytes{0};  // of every Workspace that there is

// A larger workspace goes back at the end of its call, whose work costs far more than its memory.
constexpr std::size_t kLargestKept = std::size_t{16} << 20;

}  // namespace

Workspace::~Workspace() { release(); }

void* Workspace::reserve(std::size_t bytes) {
  if (bytes > bytes_) {
    void* const grown = ::operator new(bytes, kAlignment);
    release();
    data_ = grown;
    bytes_ = bytes;
    all_bytes.fetch_add(bytes, std::memory_order_relaxed);
  }
  return data_;
}

std::size_t Workspace::release() {
  const std::size_t bytes = bytes_;
  ::operator delete(data_, kAlignment);
  data_ = nullptr;
  bytes_ = 0;
  all_bytes.fetch_sub(bytes, std::memory_order_relaxed);
  return bytes;
}

struct alignas(64) BorrowedWorkspace::Kept {
  std::atomic<bool> in_use{false};
  union {                 // never destroyed: other threads may be computing while the process ends
    Workspace workspace;  // of whoever set in_use
  };

  constexpr Kept() : workspace() {}
  ~Kept() {}
  bool take() {
    return !in_use.load(std::memory_order_relaxed) && !in_use.exchange(true, std::memory_order_acquire);
  }
  void give_back() { in_use.store(false, std::memory_order_release); }
};

BorrowedWorkspace::Kept BorrowedWorkspace::kept[kKept];

// Where this thread begins to look. Not thread_local: the first use of such a variable in a thread takes
// memory, and ends the process where there is none.
unsigned BorrowedWorkspace::first_choice() {
  const auto thread = static_cast<std::uint64_t>(pthread_self());
  return static_cast<unsigned>((thread * 0x9E3779B97F4A7C15u) >> 32);
}

BorrowedWorkspace::~BorrowedWorkspace() {
  if (!taken_) return;
  if (taken_->workspace.bytes() > kLargestKept) taken_->workspace.release();
  taken_->give_back();
}

Workspace& BorrowedWorkspace::get() {
  for (unsigned k = 0, first = first_choice(); !taken_ && k < kKept; ++k) {
    Kept& candidate = kept[(first + k) % kKept];
    if (candidate.take()) taken_ = &candidate;
  }
  return taken_ ? taken_->workspace : own_;
}

std::size_t workspace_bytes() { return all_bytes.load(std::memory_order_relaxed); }

std::size_t trim() {
  std::size_t bytes = 0;
  for (BorrowedWorkspace::Kept& candidate : BorrowedWorkspace::kept) {
    if (!candidate.take()) continue;
    bytes += candidate.workspace.release();
    candidate.give_back();
  }
  return bytes;
}

}  // namespace lstmcore
