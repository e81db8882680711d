// A cache-line aligned array that is allocated once.
#pragma once

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
  explicit AlignedArray(std::size_t size) : size_(size) {
    if (size == 0) return;
    if (size > static_cast<std::size_t>(-1) / 2 / sizeof(T)) throw std::bad_alloc();
    data_.reset(static_cast<T*>(::operator new(size * sizeof(T), kAlignment)));
    std::uninitialized_value_construct_n(data_.get(), size);
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  std::size_t bytes() const { return size_ * sizeof(T); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(T* p) const { ::operator delete(p, kAlignment); }
  };
  std::size_t size_ = 0;
  std::unique_ptr<T, Free> data_;
};

}  // namespace cpu
}  // namespace lstmcore
