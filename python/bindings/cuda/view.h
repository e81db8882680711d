// Arrays on a GPU that anybody made, read through DLPack or __cuda_array_interface__.
#pragma once

#include <string>
#include <vector>

#include "array.h"
#include "dlpack.h"

namespace lstmcore {
namespace python {

// Where and when a call works.
struct Workplace {
  CudaLibraryPtr library;
  int device;
  std::uintptr_t stream;
};

// What `array` holds; it lives as long as `owner`.
struct DeviceView {
  std::string name;  // of the argument
  void* data = nullptr;
  int dtype = 0;
  bool writable = true;
  std::vector<std::int64_t> shape, strides;  // in elements; none is negative
  py::object owner;
  bool ordered = false;  // the owner gives its memory back in the order of the stream

  std::int64_t rank() const { return std::int64_t(shape.size()); }
  // Raises TypeError and ValueError: of another dtype or rank, or its last axis not dense.
  void check(int wanted_dtype, std::initializer_list<std::int64_t> ranks) const;
  // Raises ValueError where it cannot be written to, or where elements share memory.
  void check_output() const;
  // Whether the elements of the two may lie in one place.
  bool overlaps(const DeviceView& other) const;
  std::string shape_text() const;
};

// Raises TypeError and ValueError that name the argument: no array on a GPU, on another one, of a dtype that
// is not of kDtypes. The stream will wait for what still writes the array.
DeviceView view_of(const py::object& array, const std::string& name, const Workplace& at);
// Calls an enqueuing function of the library on the views' memory. What belongs to others stays alive until
// the device has done with it, whether the call fails or not.
template <class... Parameters, class... Arguments>
void enqueue(const Workplace& at, const std::vector<DeviceView>& views, int (*function)(Parameters...),
             Arguments... arguments) {
  struct Keeping {
    const Workplace& at;
    Keeper::Objects owners;
    ~Keeping() { at.library->keeper().keep(std::move(owners), at.device, at.stream); }
  } keeping{at, {}};
  for (const DeviceView& view : views)
    if (!view.ordered) keeping.owners.push_back(view.owner);
  at.library->call(function, arguments...);
}
// After an output was written: whoever uses one of lstmcore's own arrays next finds it done.
void finish_output(const py::object& array, const Workplace& at);

// The array as [T, N, width] from a column on, whatever order its axes have; [N, width] is one step.
lstmcore_cuda_sequence sequence_of(const DeviceView& view, bool time_major, std::int64_t column);

std::vector<std::int64_t> dense_strides(const std::vector<std::int64_t>& shape);
DLDataType dlpack_type(int dtype);
const char* interface_type(int dtype);  // null where __cuda_array_interface__ has none
// Both protocols write the legacy default stream as 1, since 0 would be ambiguous.
inline std::uintptr_t exported_stream(std::uintptr_t stream) { return stream ? stream : 1; }
inline std::uintptr_t imported_stream(std::uintptr_t stream) { return stream == 1 ? 0 : stream; }

}  // namespace python
}  // namespace lstmcore
