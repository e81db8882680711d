// Counts what a test binary takes from the system, and makes chosen requests fail. For one source file of the
// binary: it defines malloc and its relatives, or under a sanitizer, which has its own, operator new.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace counted {

inline std::atomic<std::int64_t> requests{0};
inline std::atomic<std::size_t> largest{0};
// Until one fails; negative: none does. With `all_after`, every later one fails too.
inline std::atomic<std::int64_t> until_failure{-1};
inline std::atomic<bool> all_after{false};

// Whether this one may succeed.
inline bool request(std::size_t bytes) {
  ++requests;
  std::size_t before = largest;
  while (before < bytes && !largest.compare_exchange_weak(before, bytes)) continue;
  if (until_failure < 0) return true;
  if (until_failure > 0) return --until_failure >= 0;
  if (!all_after) until_failure = -1;
  errno = ENOMEM;
  return false;
}

// Requests of any thread during a call.
template <class Call>
std::int64_t requests_of(const Call& call) {
  const std::int64_t before = requests;
  call();
  return requests - before;
}

struct Outcome {
  bool threw;    // std::bad_alloc
  bool reached;  // whether there was a request to fail
};

// Runs `call` with its request number `number` (from 0) failing, and with `all` every later one.
template <class Call>
Outcome with_failure(std::int64_t number, bool all, const Call& call) {
  Outcome outcome{};
  all_after = all;
  until_failure = number;
  try {
    call();
  } catch (const std::bad_alloc&) {
    outcome.threw = true;
  }
  outcome.reached = until_failure <= 0;
  until_failure = -1;
  return outcome;
}

}  // namespace counted

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LSTMCORE_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define LSTMCORE_SANITIZED
#endif
#endif

#if defined(__GLIBC__) && !defined(LSTMCORE_SANITIZED)

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t size) noexcept { return counted::request(size) ? __libc_malloc(size) : nullptr; }
void* calloc(std::size_t n, std::size_t size) noexcept {
  return counted::request(n * size) ? __libc_calloc(n, size) : nullptr;
}
void* realloc(void* memory, std::size_t size) noexcept {
  return counted::request(size) ? __libc_realloc(memory, size) : nullptr;
}
void* memalign(std::size_t alignment, std::size_t size) noexcept {
  return counted::request(size) ? __libc_memalign(alignment, size) : nullptr;
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept { return memalign(alignment, size); }
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) noexcept {
  *memory = memalign(alignment, size);
  return *memory ? 0 : ENOMEM;
}
void* mmap(void* address, std::size_t size, int protection, int flags, int file, off_t offset) noexcept {
  if (!counted::request(size)) return reinterpret_cast<void*>(-1);
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, size, protection, flags, file, offset));
}
}

#else

void* operator new(std::size_t size) {
  if (!counted::request(size)) throw std::bad_alloc();
  if (void* const memory = std::malloc(size ? size : 1)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  if (!counted::request(size)) throw std::bad_alloc();
  const auto align = static_cast<std::size_t>(alignment);
  if (size > SIZE_MAX - align) throw std::bad_alloc();
  if (void* const memory = std::aligned_alloc(align, (size + align - 1) / align * align)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

#endif
