#include "view.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <utility>

namespace lstmcore {
namespace python {
namespace {

constexpr DLDataType kDLTypes[kDtypes] = {{kDLFloat, 32, 1},  {kDLFloat, 64, 1}, {kDLFloat, 16, 1},
                                          {kDLBfloat, 16, 1}, {kDLInt, 32, 1},   {kDLInt, 64, 1}};
constexpr const char* kTypestrings[kDtypes] = {"<f4", "<f8", "<f2", nullptr, "<i4", "<i8"};

[[noreturn]] void refuse_dtype(const std::string& name, const std::string& got) {
  throw py::type_error(name + ": expected float32, float64, float16 or bfloat16, got " + got);
}

[[noreturn]] void refuse_device(const std::string& name, int wanted, int got) {
  throw py::value_error(name + ": expected an array on cuda:" + std::to_string(wanted) +
                        ", got one on cuda:" + std::to_string(got));
}

// What somebody else's exporter raised, as an error that names the argument.
[[noreturn]] void refuse_export(const py::error_already_set& cause, const std::string& name) {
  if (cause.matches(PyExc_MemoryError) || !cause.matches(PyExc_Exception)) throw cause;
  const std::string text =
      name + ": its library does not export it: " + py::str(cause.value()).cast<std::string>();
  py::raise_from(const_cast<py::error_already_set&>(cause), PyExc_ValueError, text.c_str());
  throw py::error_already_set();
}

py::object export_dlpack(const py::object& array, const std::string& name, std::uintptr_t stream) {
  const py::object method = array.attr("__dlpack__");
  const py::int_ consumer(exported_stream(stream));
  try {
    return method(py::arg("stream") = consumer, py::arg("max_version") = py::make_tuple(1, 0));
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_TypeError)) refuse_export(error, name);
  }
  try {  // a library from before DLPack 1.0 does not know max_version
    return method(py::arg("stream") = consumer);
  } catch (py::error_already_set& error) {
    refuse_export(error, name);
  }
}

// Takes the capsule over: from here on the deleter is ours to call.
template <class Managed>
const Managed* take(const py::object& capsule, DeviceView& view) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), Managed::kName));
  if (!managed || PyCapsule_SetName(capsule.ptr(), Managed::kUsedName)) throw py::error_already_set();
  try {
    view.owner = py::capsule(managed, [](void* p) {
      auto* tensor = static_cast<Managed*>(p);
      if (tensor->deleter) tensor->deleter(tensor);
    });
  } catch (...) {
    if (managed->deleter) managed->deleter(managed);
    throw;
  }
  return managed;
}

void read_tensor(const DLTensor& tensor, DeviceView& view, int device) {
  if (tensor.device.device_type != kDLCuda && tensor.device.device_type != kDLCudaManaged)
    throw py::type_error(view.name +
                         ": expected an array on the GPU, got one elsewhere (DLPack device type " +
                         std::to_string(tensor.device.device_type) + ")");
  if (tensor.device.device_type == kDLCuda && tensor.device.device_id != device)
    refuse_device(view.name, device, tensor.device.device_id);
  view.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  view.shape.assign(tensor.shape, tensor.shape + tensor.ndim);
  view.strides = tensor.strides ? std::vector<std::int64_t>(tensor.strides, tensor.strides + tensor.ndim)
                                : dense_strides(view.shape);
  const auto* type = std::find_if(std::begin(kDLTypes), std::end(kDLTypes), [&](const DLDataType& t) {
    return t.code == tensor.dtype.code && t.bits == tensor.dtype.bits && tensor.dtype.lanes == 1;
  });
  if (type == std::end(kDLTypes))
    refuse_dtype(view.name, "DLPack type " + std::to_string(tensor.dtype.code) + " of " +
                                std::to_string(tensor.dtype.bits) + " bits");
  view.dtype = int(type - std::begin(kDLTypes));
}

void view_dlpack(const py::object& array, DeviceView& view, const Workplace& at) {
  const auto where = array.attr("__dlpack_device__")().cast<std::pair<int, int>>();
  if (where.first != kDLCuda && where.first != kDLCudaManaged)
    throw py::type_error(view.name +
                         ": expected an array on the GPU, got one elsewhere (DLPack device type " +
                         std::to_string(where.first) + ")");
  if (where.first == kDLCuda && where.second != at.device) refuse_device(view.name, at.device, where.second);
  const py::object capsule = export_dlpack(array, view.name, at.stream);
  if (PyCapsule_IsValid(capsule.ptr(), DLManagedTensorVersioned::kName)) {
    const auto* managed = take<DLManagedTensorVersioned>(capsule, view);
    if (managed->version.major != 1)
      throw py::value_error(view.name + ": expected DLPack 1, got version " +
                            std::to_string(managed->version.major));
    view.writable = !(managed->flags & (kDLReadOnly | kDLCopied));
    read_tensor(managed->dl_tensor, view, at.device);
  } else {
    read_tensor(take<DLManagedTensor>(capsule, view)->dl_tensor, view, at.device);
  }
}

void wait_for_interface(const py::dict& interface, const std::string& name, const Workplace& at) {
  if (!interface.contains("stream") || interface["stream"].is_none()) return;
  const auto number = interface["stream"].cast<std::int64_t>();
  if (number <= 0)
    throw py::value_error(name + ": its __cuda_array_interface__ has stream " + std::to_string(number) +
                          ", which is none");
  const std::uintptr_t writer = imported_stream(std::uintptr_t(number));
  if (writer != at.stream)
    at.library->call(at.library->api().stream_wait, at.device, as_stream(at.stream), as_stream(writer));
}

// The interface does not say which device it is: CUDA knows, from the address.
void check_address(const DeviceView& view, const Workplace& at) {
  if (std::find(view.shape.begin(), view.shape.end(), 0) != view.shape.end()) return;
  int device = -1;
  at.library->call(at.library->api().device_of, static_cast<const void*>(view.data), &device);
  if (device < 0)
    throw py::type_error(view.name + ": expected an array on the GPU, its address is not of one");
  if (device != at.device) refuse_device(view.name, at.device, device);
}

void view_interface(const py::object& array, DeviceView& view, const Workplace& at) {
  const auto interface = array.attr("__cuda_array_interface__").cast<py::dict>();
  view.owner = array;
  if (interface.contains("mask") && !interface["mask"].is_none())
    throw py::type_error(view.name + ": expected a plain array, got a masked one");
  const auto data = interface["data"].cast<std::pair<std::uintptr_t, bool>>();
  view.data = reinterpret_cast<void*>(data.first);
  view.writable = !data.second;
  view.shape = interface["shape"].cast<std::vector<std::int64_t>>();
  const auto typestring = interface["typestr"].cast<std::string>();
  const auto* type = std::find_if(std::begin(kTypestrings), std::end(kTypestrings),
                                  [&](const char* t) { return t && typestring == t; });
  if (type == std::end(kTypestrings)) refuse_dtype(view.name, typestring);
  view.dtype = int(type - std::begin(kTypestrings));
  view.strides = dense_strides(view.shape);
  if (interface.contains("strides") && !interface["strides"].is_none()) {
    view.strides = interface["strides"].cast<std::vector<std::int64_t>>();
    for (std::int64_t& stride : view.strides) {
      if (stride % dtype_size(view.dtype))
        throw py::value_error(view.name + ": expected strides of whole elements");
      stride /= dtype_size(view.dtype);
    }
  }
  check_address(view, at);
  wait_for_interface(interface, view.name, at);
}

void view_own(const py::object& array, DeviceView& view, const Workplace& at) {
  const auto& own = array.cast<const DeviceArray&>();
  if (own.device() != at.device) refuse_device(view.name, at.device, own.device());
  own.block().lend(at.stream);
  view.owner = array;
  view.ordered = true;
  view.data = own.data();
  view.dtype = own.dtype();
  view.shape = own.shape();
  view.strides = dense_strides(view.shape);
}

// The strides of axes of one entry mean nothing, and libraries write anything there.
void normalize(DeviceView& view) {
  if (view.strides.size() != view.shape.size())
    throw py::value_error(view.name + ": expected a stride for each axis");
  const std::vector<std::int64_t> dense = dense_strides(view.shape);
  for (std::size_t k = 0; k < view.shape.size(); ++k) {
    if (view.shape[k] < 2) view.strides[k] = dense[k];
    if (view.strides[k] < 0) throw py::value_error(view.name + ": expected no negative strides");
  }
  if (reinterpret_cast<std::uintptr_t>(view.data) % std::uintptr_t(dtype_size(view.dtype)))
    throw py::value_error(view.name + ": expected an aligned array");
}

}  // namespace

std::vector<std::int64_t> dense_strides(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t k = shape.size(); k > 1; --k)
    strides[k - 2] = strides[k - 1] * std::max<std::int64_t>(shape[k - 1], 1);
  return strides;
}

DLDataType dlpack_type(int dtype) { return kDLTypes[dtype]; }
const char* interface_type(int dtype) { return kTypestrings[dtype]; }

std::string DeviceView::shape_text() const { return py::str(py::tuple(py::cast(shape))).cast<std::string>(); }

void DeviceView::check(int wanted_dtype, std::initializer_list<std::int64_t> ranks) const {
  if (dtype != wanted_dtype)
    throw py::type_error(name + ": expected " + dtype_name(wanted_dtype) + ", got " + dtype_name(dtype));
  if (std::find(ranks.begin(), ranks.end(), rank()) == ranks.end())
    throw py::value_error(name + ": expected " + std::to_string(*ranks.begin()) + " axes, got shape " +
                          shape_text());
  if (strides.back() != 1) throw py::value_error(name + ": expected the last axis to be contiguous");
}

void DeviceView::check_output() const {
  if (!writable) throw py::value_error(name + ": expected a writable array");
  std::vector<std::pair<std::int64_t, std::int64_t>> axes;  // stride and size
  for (std::size_t k = 0; k < shape.size(); ++k)
    if (shape[k] > 1) axes.emplace_back(strides[k], shape[k]);
  std::sort(axes.begin(), axes.end());
  std::int64_t extent = 1;
  for (const auto& axis : axes) {
    if (axis.first < extent) throw py::value_error(name + ": expected elements that do not share memory");
    extent = axis.first * axis.second;
  }
}

bool DeviceView::overlaps(const DeviceView& other) const {
  const auto end = [](const DeviceView& view) {
    std::int64_t reach = 1;  // no stride is negative
    for (std::size_t k = 0; k < view.shape.size(); ++k) {
      if (!view.shape[k]) return static_cast<const char*>(view.data);
      reach += (view.shape[k] - 1) * view.strides[k];
    }
    return static_cast<const char*>(view.data) + reach * dtype_size(view.dtype);
  };
  return data < end(other) && other.data < end(*this);
}

lstmcore_cuda_sequence sequence_of(const DeviceView& view, bool time_major, std::int64_t column) {
  char* data = static_cast<char*>(view.data) + column * dtype_size(view.dtype);
  if (view.rank() == 2) return {data, view.shape[0] * view.strides[0], view.strides[0]};
  return {data, view.strides[time_major ? 0 : 1], view.strides[time_major ? 1 : 0]};
}

DeviceView view_of(const py::object& array, const std::string& name, const Workplace& at) {
  DeviceView view;
  view.name = name;
  if (py::isinstance<DeviceArray>(array))
    view_own(array, view, at);
  else if (py::hasattr(array, "__dlpack__") && py::hasattr(array, "__dlpack_device__"))
    view_dlpack(array, view, at);
  else if (py::hasattr(array, "__cuda_array_interface__"))
    view_interface(array, view, at);
  else
    throw py::type_error(name + ": expected an array on the GPU, got " +
                         py::str(py::type::of(array).attr("__name__")).cast<std::string>());
  normalize(view);
  return view;
}

void finish_output(const py::object& array, const Workplace& at) {
  if (py::isinstance<DeviceArray>(array)) array.cast<const DeviceArray&>().block().wait_for(at.stream);
}

}  // namespace python
}  // namespace lstmcore
