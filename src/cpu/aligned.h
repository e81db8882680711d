// An array that is allocated once: cache-line aligned, and in large pages where it is large.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <memory>
#include <new>

namespace lstmcore {
namespace cpu {

template <class T>
class AlignedArray {
 public:
  AlignedArray() = default;
  // Zero-filled.
  explicit AlignedArray(std::size_t size) : AlignedArray(uninitialized(size)) {
    std::uninitialized_value_construct_n(data_.get(), size);
  }

  static AlignedArray uninitialized(std::size_t size) {
    AlignedArray array;
    if (size == 0) return array;
    if (size > static_cast<std::size_t>(-1) / 2 / sizeof(T)) throw std::bad_alloc();
    array.size_ = size;
    array.data_ = {static_cast<T*>(::operator new(size * sizeof(T), alignment(size))), Free{alignment(size)}};
    // Before the first touch. Reading weights of many megabytes from small pages is a tenth slower; where
    // there are no large ones, this does nothing.
    if (alignment(size) == kHugePage) madvise(array.data(), size * sizeof(T), MADV_HUGEPAGE);
    return array;
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  std::size_t bytes() const { return size_ * sizeof(T); }

 private:
  static constexpr std::align_val_t kLine{64}, kHugePage{2 << 20};
  static std::align_val_t alignment(std::size_t size) {
    return size * sizeof(T) < static_cast<std::size_t>(kHugePage) ? kLine : kHugePage;
  }
  struct Free {
    std::align_val_t alignment;
    void operator()(T* p) const { ::operator delete(p, alignment); }
  };
  std::size_t size_ = 0;
  std::unique_ptr<T, Free> data_{nullptr, Free{kLine}};
};

}  // namespace cpu
}  // namespace lstmcore
