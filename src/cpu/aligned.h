// An array that is allocated once: cache-line aligned, and in large pages where it is large.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace lstmcore {
namespace cpu {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

inline std::size_t whole_pages(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

// Zero-filled memory of the system's, in large pages where it has them: reading weights of many megabytes
// from small ones is a tenth slower. Not from the heap, on which the advice would stay when the memory is
// free again: what is small would then be in large pages too, and take many times its size.
inline void* map_huge(std::size_t bytes) {
  const std::size_t room = whole_pages(bytes) + kHugePage;
  void* const begin = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (begin == MAP_FAILED) throw std::bad_alloc();
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  const std::size_t head = (kHugePage - address % kHugePage) % kHugePage;
  char* const aligned = static_cast<char*>(begin) + head;
  if (head) munmap(begin, head);
  munmap(aligned + whole_pages(bytes), kHugePage - head);
  madvise(aligned, bytes, MADV_HUGEPAGE);
  return aligned;
}

template <class T>
class AlignedArray {
 public:
  AlignedArray() = default;
  // Zero-filled.
  explicit AlignedArray(std::size_t size) : AlignedArray(uninitialized(size)) {
    if (bytes() < kHugePage) std::uninitialized_value_construct_n(data_.get(), size);
  }

  static AlignedArray uninitialized(std::size_t size) {
    AlignedArray array;
    if (size == 0) return array;
    if (size > static_cast<std::size_t>(-1) / 4 / sizeof(T)) throw std::bad_alloc();
    array.size_ = size;
    const std::size_t bytes = array.bytes();
    void* const memory = bytes >= kHugePage ? map_huge(bytes) : ::operator new(bytes, kLine);
    array.data_ = {static_cast<T*>(memory), Free{bytes}};
    return array;
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  std::size_t bytes() const { return size_ * sizeof(T); }

 private:
  static constexpr std::align_val_t kLine{64};
  struct Free {
    std::size_t bytes;
    void operator()(T* p) const {
      if (bytes >= kHugePage)
        munmap(p, whole_pages(bytes));
      else
        ::operator delete(p, kLine);
    }
  };
  std::size_t size_ = 0;
  std::unique_ptr<T, Free> data_{nullptr, Free{0}};
};

}  // namespace cpu
}  // namespace lstmcore
