// lstmcore's own arrays on a GPU.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "library.h"

namespace lstmcore {
namespace python {

// Dtypes of arrays: those of lstmcore_cuda_dtype, and the integers that lengths may come in.
enum : int { kInt32 = 4, kInt64 = 5, kDtypes = 6 };
const char* dtype_name(int dtype);
std::int64_t dtype_size(int dtype);

inline void* as_stream(std::uintptr_t stream) { return reinterpret_cast<void*>(stream); }

// Device memory that belongs to one stream.
class DeviceBlock {
 public:
  DeviceBlock(CudaLibraryPtr library, int device, std::size_t bytes, std::uintptr_t stream);
  ~DeviceBlock();
  DeviceBlock(const DeviceBlock&) = delete;
  DeviceBlock& operator=(const DeviceBlock&) = delete;

  const CudaLibrary& library() const { return *library_; }
  void* data() const { return data_; }
  int device() const { return device_; }
  std::uintptr_t stream() const { return stream_; }
  // Another stream may use the memory from now on; whoever gets it next waits for that.
  void lend(std::uintptr_t stream);
  // The block's own stream goes on after what `stream` has been given so far.
  void wait_for(std::uintptr_t stream) const;

 private:
  CudaLibraryPtr library_;
  int device_;
  std::uintptr_t stream_;
  std::vector<std::uintptr_t> readers_;
  void* data_ = nullptr;
};

// A dense array in a block.
class DeviceArray : public std::enable_shared_from_this<DeviceArray> {
 public:
  DeviceArray(const CudaLibraryPtr& library, int device, std::vector<std::int64_t> shape, int dtype,
              std::uintptr_t stream);
  DeviceArray(const DeviceArray& whole, std::int64_t index);  // whole[index]

  void* data() const { return data_; }
  int device() const { return block_->device(); }
  int dtype() const { return dtype_; }
  std::uintptr_t stream() const { return block_->stream(); }
  DeviceBlock& block() const { return *block_; }
  std::size_t bytes() const;
  const std::vector<std::int64_t>& shape() const { return shape_; }
  // The host's bytes, C-contiguous, to the device and back; the latter waits.
  void write(const py::buffer& host);
  void read(const py::buffer& host) const;
  py::capsule dlpack(const py::object& stream, const py::object& max_version, const py::object& dl_device,
                     const py::object& copy);
  py::dict cuda_array_interface() const;

 private:
  std::shared_ptr<DeviceBlock> block_;
  std::vector<std::int64_t> shape_;
  int dtype_;
  void* data_;
};

void register_device_array(py::module_& module);

}  // namespace python
}  // namespace lstmcore
