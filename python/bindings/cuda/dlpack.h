// The parts of DLPack (github.com/dmlc/dlpack, version 0.8: unversioned capsules, which every library reads)
// that arrays on a GPU need.
#pragma once

#include <cstdint>

namespace lstmcore {
namespace python {

enum : std::int32_t { kDLCuda = 2, kDLCudaManaged = 13 };
enum : std::uint8_t { kDLFloat = 2, kDLBfloat = 4 };

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
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor*);
};

}  // namespace python
}  // namespace lstmcore
