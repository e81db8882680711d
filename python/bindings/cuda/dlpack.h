// The parts of DLPack (github.com/dmlc/dlpack, version 1.0) that arrays on a GPU need: versioned capsules,
// and the unversioned ones of before, which are still read and written.
#pragma once

#include <cstdint>

namespace lstmcore {
namespace python {

enum : std::int32_t { kDLCuda = 2, kDLCudaManaged = 13 };
enum : std::uint8_t { kDLInt = 0, kDLFloat = 2, kDLBfloat = 4 };
enum : std::uint64_t { kDLReadOnly = 1, kDLCopied = 2 };

struct DLDevice {
  std::int32_t device_type, device_id;
};
struct DLDataType {
  std::uint8_t code, bits;
  std::uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLDataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null: dense
  std::uint64_t byte_offset;
};
struct DLManagedTensor {
  static constexpr const char *kName = "dltensor", *kUsedName = "used_dltensor";
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor*);
};
struct DLVersion {
  std::uint32_t major, minor;
};
struct DLManagedTensorVersioned {
  static constexpr const char *kName = "dltensor_versioned", *kUsedName = "used_dltensor_versioned";
  DLVersion version;  // of another major version nothing but this, manager_ctx and deleter can be read
  void* manager_ctx;
  void (*deleter)(DLManagedTensorVersioned*);
  std::uint64_t flags;
  DLTensor dl_tensor;
};

}  // namespace python
}  // namespace lstmcore
