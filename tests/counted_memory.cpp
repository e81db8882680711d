// A library to preload into Python (LD_PRELOAD, see test_memory.py): counts what the process takes from the
// system, and makes chosen calls of operator new fail, which are those of the native module.
#include "counted_memory.h"

namespace {

std::atomic<std::int64_t> until_failure{-1}, news{0};
std::atomic<bool> all_after{false};

bool new_may_succeed() {
  ++news;
  if (until_failure < 0) return true;
  if (until_failure > 0) return --until_failure >= 0;
  if (!all_after) until_failure = -1;
  return false;
}

}  // namespace

void* operator new(std::size_t size) {
  if (!new_may_succeed()) throw std::bad_alloc();
  if (void* const memory = malloc(size ? size : 1)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  if (!new_may_succeed()) throw std::bad_alloc();
  if (void* const memory = memalign(static_cast<std::size_t>(alignment), size)) return memory;
  throw std::bad_alloc();
}

extern "C" {
std::int64_t counted_requests() { return counted::requests; }
std::int64_t counted_news() { return news; }
// From now on: request number `number` (from 0; negative: none), with `all` every later one too. Returns
// whether one that was asked for before has failed.
int counted_fail(std::int64_t number, int all) {
  const bool failed = all_after ? until_failure == 0 : until_failure < 0;
  all_after = all;
  until_failure = number;
  return failed;
}
}
