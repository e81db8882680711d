// Arrays on a GPU: lstmcore's own, and those of others through DLPack or __cuda_array_interface__.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <vector>

#include "library.h"

namespace lstmcore {
namespace python {

// Dense device memory that belongs to one stream.
class DeviceArray : public std::enable_shared_from_this<DeviceArray> {
 public:
  DeviceArray(std::shared_ptr<CudaLibrary> library, int device, std::vector<std::int64_t> shape, int dtype,
              std::uintptr_t stream);
  ~DeviceArray();
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  void* data() const { return data_; }
  int device() const { return device_; }
  int dtype() const { return dtype_; }
  std::uintptr_t stream() const { return stream_; }
  std::size_t bytes() const;
  const std::vector<std::int64_t>& shape() const { return shape_; }
  // The host's bytes, C-contiguous, to the device and back; the latter waits.
  void write(const py::buffer& host);
  void read(const py::buffer& host) const;
  py::capsule dlpack(const py::object& stream);
  py::dict cuda_array_interface() const;

 private:
  CudaLibraryPtr library_;
  int device_, dtype_;
  std::vector<std::int64_t> shape_;
  std::uintptr_t stream_;
  std::vector<std::uintptr_t> readers_;  // other streams that were given the memory
  void* data_ = nullptr;
};

// What `array` holds; it lives as long as `owner`.
struct DeviceView {
  void* data = nullptr;
  int device = 0, dtype = 0;
  std::vector<std::int64_t> shape, strides;  // in elements
  py::object owner;
};

// Raises TypeError and ValueError that name the argument: no array on a GPU, or none of `dtype`. `stream`
// will wait for whatever still writes it.
DeviceView view_of(const py::object& array, const std::string& name, std::uintptr_t stream);

const char* dtype_name(int dtype);
void register_device_array(py::module_& module);

}  // namespace python
}  // namespace lstmcore
