#include <new>

#include "lstmcore/lstm.h"

namespace lstmcore {
namespace {

constexpr std::align_val_t kAlignment{64};

}  // namespace

Workspace::~Workspace() { ::operator delete(data_, kAlignment); }

void* Workspace::reserve(std::size_t bytes) {
  if (bytes > bytes_) {
    void* const grown = ::operator new(bytes, kAlignment);
    ::operator delete(data_, kAlignment);
    data_ = grown;
    bytes_ = bytes;
  }
  return data_;
}

}  // namespace lstmcore
