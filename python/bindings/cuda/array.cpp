#include "array.h"

#include <pybind11/stl.h>

#include <algorithm>

#include "dlpack.h"

namespace lstmcore {
namespace python {
namespace {

constexpr const char* kNames[] = {"float32", "float64", "float16", "bfloat16"};
constexpr const char* kTypestrings[] = {"<f4", "<f8", "<f2", nullptr};  // the interface has no bfloat16
constexpr DLDataType kDLTypes[] = {
    {kDLFloat, 32, 1}, {kDLFloat, 64, 1}, {kDLFloat, 16, 1}, {kDLBfloat, 16, 1}};
constexpr std::size_t kBytes[] = {4, 8, 2, 2};

void* as_stream(std::uintptr_t stream) { return reinterpret_cast<void*>(stream); }

// Both interfaces write the default stream as 1, since 0 would be ambiguous.
std::uintptr_t exported(std::uintptr_t stream) { return stream ? stream : 1; }
std::uintptr_t imported(std::uintptr_t stream) { return stream == 1 ? 0 : stream; }

std::vector<std::int64_t> dense_strides(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t k = shape.size(); k > 1; --k) strides[k - 2] = strides[k - 1] * shape[k - 1];
  return strides;
}

[[noreturn]] void refuse_dtype(const std::string& name, const std::string& got) {
  throw py::type_error(name + ": expected float32, float64, float16 or bfloat16, got " + got);
}

DeviceView view_of_dlpack(const py::object& array, const std::string& name, std::uintptr_t stream) {
  const auto where = array.attr("__dlpack_device__")().cast<std::pair<int, int>>();
  if (where.first != kDLCuda && where.first != kDLCudaManaged)
    throw py::type_error(name + ": expected an array on the GPU, got one elsewhere (DLPack device type " +
                         std::to_string(where.first) + ")");
  const py::object capsule = array.attr("__dlpack__")(py::arg("stream") = exported(stream));
  auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
  if (!managed) throw py::error_already_set();
  PyCapsule_SetName(capsule.ptr(), "used_dltensor");
  DeviceView view;
  view.owner = py::capsule(managed, [](void* p) {
    auto* tensor = static_cast<DLManagedTensor*>(p);
    if (tensor->deleter) tensor->deleter(tensor);
  });
  const DLTensor& tensor = managed->dl_tensor;
  view.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  view.device = tensor.device.device_id;
  view.shape.assign(tensor.shape, tensor.shape + tensor.ndim);
  view.strides = tensor.strides ? std::vector<std::int64_t>(tensor.strides, tensor.strides + tensor.ndim)
                                : dense_strides(view.shape);
  const auto* type = std::find_if(std::begin(kDLTypes), std::end(kDLTypes), [&](const DLDataType& t) {
    return t.code == tensor.dtype.code && t.bits == tensor.dtype.bits && tensor.dtype.lanes == 1;
  });
  if (type == std::end(kDLTypes))
    refuse_dtype(name, "DLPack type " + std::to_string(tensor.dtype.code) + " of " +
                           std::to_string(tensor.dtype.bits) + " bits");
  view.dtype = int(type - std::begin(kDLTypes));
  return view;
}

// Its "stream" entry is left alone: the caller says on which stream to work.
DeviceView view_of_interface(const py::object& array, const std::string& name) {
  const auto interface = array.attr("__cuda_array_interface__").cast<py::dict>();
  DeviceView view;
  view.owner = array;
  view.data = reinterpret_cast<void*>(interface["data"].cast<py::tuple>()[0].cast<std::uintptr_t>());
  view.shape = interface["shape"].cast<std::vector<std::int64_t>>();
  const auto typestring = interface["typestr"].cast<std::string>();
  const auto* type = std::find_if(std::begin(kTypestrings), std::end(kTypestrings),
                                  [&](const char* t) { return t && typestring == t; });
  if (type == std::end(kTypestrings)) refuse_dtype(name, typestring);
  view.dtype = int(type - std::begin(kTypestrings));
  view.strides = dense_strides(view.shape);
  if (interface.contains("strides") && !interface["strides"].is_none()) {
    view.strides = interface["strides"].cast<std::vector<std::int64_t>>();
    for (std::int64_t& stride : view.strides) stride /= std::int64_t(kBytes[view.dtype]);
  }
  view.device = interface.contains("device") ? interface["device"].cast<int>() : 0;
  return view;
}

}  // namespace

const char* dtype_name(int dtype) { return kNames[dtype]; }

DeviceArray::DeviceArray(std::shared_ptr<CudaLibrary> library, int device, std::vector<std::int64_t> shape,
                         int dtype, std::uintptr_t stream)
    : library_(std::move(library)),
      device_(device),
      dtype_(dtype),
      shape_(std::move(shape)),
      stream_(stream) {
  library_->call(library_->api().allocate, device_, bytes(), as_stream(stream_), &data_);
}

DeviceArray::~DeviceArray() {
  char error[LSTMCORE_CUDA_ERROR_SIZE];
  for (const std::uintptr_t reader : readers_)
    library_->api().stream_wait(device_, as_stream(stream_), as_stream(reader), error);
  library_->api().release(device_, data_, as_stream(stream_), error);
}

std::size_t DeviceArray::bytes() const {
  std::size_t bytes = kBytes[dtype_];
  for (const std::int64_t size : shape_) bytes *= std::size_t(size);
  return bytes;
}

void DeviceArray::write(const py::buffer& host) {
  const py::buffer_info info = host.request();
  if (std::size_t(info.size * info.itemsize) != bytes()) throw py::value_error("array: of another size");
  library_->call(library_->api().copy, device_, data_, static_cast<const void*>(info.ptr), bytes(),
                 as_stream(stream_));
}

void DeviceArray::read(const py::buffer& host) const {
  const py::buffer_info info = host.request(true);
  if (std::size_t(info.size * info.itemsize) != bytes()) throw py::value_error("array: of another size");
  // From the device into ordinary memory: the call returns when the bytes are there.
  library_->call(library_->api().copy, device_, info.ptr, static_cast<const void*>(data_), bytes(),
                 as_stream(stream_));
}

py::capsule DeviceArray::dlpack(const py::object& stream) {
  if (!stream.is_none()) {
    const auto number = stream.cast<std::int64_t>();
    const std::uintptr_t reader = imported(std::uintptr_t(number));
    if (number != -1 && reader != stream_) {
      library_->call(library_->api().stream_wait, device_, as_stream(reader), as_stream(stream_));
      readers_.push_back(reader);
    }
  }
  struct Export {
    DLManagedTensor managed;
    std::shared_ptr<DeviceArray> array;
    std::vector<std::int64_t> shape, strides;
  };
  auto* out = new Export{{}, shared_from_this(), shape_, dense_strides(shape_)};
  out->managed = {{data_,
                   {kDLCuda, device_},
                   int(shape_.size()),
                   kDLTypes[dtype_],
                   out->shape.data(),
                   out->strides.data(),
                   0},
                  out,
                  [](DLManagedTensor* tensor) { delete static_cast<Export*>(tensor->manager_ctx); }};
  PyObject* capsule = PyCapsule_New(&out->managed, "dltensor", [](PyObject* self) {
    if (!PyCapsule_IsValid(self, "dltensor")) return;  // somebody has taken it over
    auto* tensor = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(self, "dltensor"));
    tensor->deleter(tensor);
  });
  return py::reinterpret_steal<py::capsule>(capsule);
}

py::dict DeviceArray::cuda_array_interface() const {
  if (!kTypestrings[dtype_])
    throw py::attribute_error("__cuda_array_interface__ has no bfloat16; use __dlpack__");
  py::dict interface;
  interface["shape"] = py::tuple(py::cast(shape_));
  interface["typestr"] = kTypestrings[dtype_];
  interface["data"] = py::make_tuple(reinterpret_cast<std::uintptr_t>(data_), false);
  interface["version"] = 3;
  interface["strides"] = py::none();
  interface["stream"] = exported(stream_);
  return interface;
}

DeviceView view_of(const py::object& array, const std::string& name, std::uintptr_t stream) {
  if (py::hasattr(array, "__dlpack__") && py::hasattr(array, "__dlpack_device__"))
    return view_of_dlpack(array, name, stream);
  if (py::hasattr(array, "__cuda_array_interface__")) return view_of_interface(array, name);
  throw py::type_error(name + ": expected an array on the GPU, got " +
                       py::str(py::type::of(array).attr("__name__")).cast<std::string>());
}

void register_device_array(py::module_& module) {
  py::class_<DeviceArray, std::shared_ptr<DeviceArray>>(module, "DeviceArray")
      .def(py::init<std::shared_ptr<CudaLibrary>, int, std::vector<std::int64_t>, int, std::uintptr_t>(),
           py::arg("library"), py::arg("device"), py::arg("shape"), py::arg("dtype"), py::arg("stream"))
      .def_property_readonly("shape", [](const DeviceArray& a) { return py::tuple(py::cast(a.shape())); })
      .def_property_readonly("dtype_name", [](const DeviceArray& a) { return dtype_name(a.dtype()); })
      .def_property_readonly("device", &DeviceArray::device)
      .def_property_readonly("stream", &DeviceArray::stream)
      .def_property_readonly("__cuda_array_interface__", &DeviceArray::cuda_array_interface)
      .def("__dlpack__", &DeviceArray::dlpack, py::kw_only(), py::arg("stream") = py::none())
      .def("__dlpack_device__", [](const DeviceArray& a) { return py::make_tuple(int(kDLCuda), a.device()); })
      .def("_write", &DeviceArray::write, py::arg("host"))
      .def("_read", &DeviceArray::read, py::arg("host"));
}

}  // namespace python
}  // namespace lstmcore
