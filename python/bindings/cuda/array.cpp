#include "array.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "dlpack.h"
#include "view.h"

namespace lstmcore {
namespace python {
namespace {

constexpr const char* kNames[kDtypes] = {"float32", "float64", "float16", "bfloat16", "int32", "int64"};
constexpr std::int64_t kSizes[kDtypes] = {4, 8, 2, 2, 4, 8};

// What a capsule of either form keeps alive.
template <class Managed>
struct Export {
  Managed managed;
  std::shared_ptr<DeviceArray> array;
  std::vector<std::int64_t> shape, strides;
};

template <class Managed>
py::capsule export_as(std::shared_ptr<DeviceArray> array, std::uint64_t flags) {
  auto* out = new Export<Managed>{{}, array, array->shape(), dense_strides(array->shape())};
  out->managed.dl_tensor = {array->data(),
                            {kDLCuda, array->device()},
                            int(out->shape.size()),
                            dlpack_type(array->dtype()),
                            out->shape.data(),
                            out->strides.data(),
                            0};
  out->managed.manager_ctx = out;
  // Not with the GIL, perhaps: it must touch nothing of Python.
  out->managed.deleter = [](Managed* tensor) { delete static_cast<Export<Managed>*>(tensor->manager_ctx); };
  if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>) {
    out->managed.version = {1, 0};
    out->managed.flags = flags;
  }
  PyObject* capsule = PyCapsule_New(&out->managed, Managed::kName, [](PyObject* self) {
    if (!PyCapsule_IsValid(self, Managed::kName)) return;  // somebody has taken it over
    auto* tensor = static_cast<Managed*>(PyCapsule_GetPointer(self, Managed::kName));
    tensor->deleter(tensor);
  });
  if (!capsule) {
    delete out;
    throw py::error_already_set();
  }
  return py::reinterpret_steal<py::capsule>(capsule);
}

// The consumer's stream as a handle; null where it wants no waiting. The array API says: None is the legacy
// default stream, -1 no waiting, 1 and 2 the default streams, 0 nothing.
std::optional<std::uintptr_t> consumer_stream(const py::object& stream) {
  if (stream.is_none()) return 0;
  if (!py::isinstance<py::int_>(stream)) throw py::type_error("stream: expected an integer or None");
  const auto number = stream.cast<std::int64_t>();
  if (number == -1) return std::nullopt;
  if (number == 0 || number < -1)
    throw py::value_error("stream: expected 1, 2, a handle, -1 or None, got " + std::to_string(number));
  return imported_stream(std::uintptr_t(number));
}

void raise_buffer_error(const std::string& text) {
  PyErr_SetString(PyExc_BufferError, text.c_str());
  throw py::error_already_set();
}

std::string text_of(const DeviceArray& array) {
  return "<DeviceArray " + std::string(dtype_name(array.dtype())) + " " +
         py::str(py::tuple(py::cast(array.shape()))).cast<std::string>() +
         " on cuda:" + std::to_string(array.device()) + ">";
}

std::int64_t length(const DeviceArray& array) {
  if (array.shape().empty()) throw py::type_error("len() of an array without axes");
  return array.shape()[0];
}

// array[index], a view.
std::shared_ptr<DeviceArray> item(const DeviceArray& array, std::int64_t index) {
  return std::make_shared<DeviceArray>(array, index < 0 ? index + length(array) : index);
}

// NumPy would make an array of objects, item by item.
void refuse_host(const DeviceArray& array, const py::args&, const py::kwargs&) {
  throw py::type_error(text_of(array) + " is not copied without being asked: use lstmcore.cuda.asnumpy");
}

}  // namespace

const char* dtype_name(int dtype) { return kNames[dtype]; }
std::int64_t dtype_size(int dtype) { return kSizes[dtype]; }

DeviceBlock::DeviceBlock(CudaLibraryPtr library, int device, std::size_t bytes, std::uintptr_t stream)
    : library_(std::move(library)), device_(device), stream_(stream) {
  library_->call(library_->api().allocate, device_, bytes, as_stream(stream_), &data_);
}

DeviceBlock::~DeviceBlock() {
  char error[LSTMCORE_CUDA_ERROR_SIZE];
  for (const std::uintptr_t reader : readers_)
    library_->api().stream_wait(device_, as_stream(stream_), as_stream(reader), error);
  library_->api().release(device_, data_, as_stream(stream_), error);
}

void DeviceBlock::lend(std::uintptr_t stream) {
  if (stream == stream_) return;
  library_->call(library_->api().stream_wait, device_, as_stream(stream), as_stream(stream_));
  if (std::find(readers_.begin(), readers_.end(), stream) == readers_.end()) readers_.push_back(stream);
}

void DeviceBlock::wait_for(std::uintptr_t stream) const {
  if (stream != stream_)
    library_->call(library_->api().stream_wait, device_, as_stream(stream_), as_stream(stream));
}

DeviceArray::DeviceArray(const CudaLibraryPtr& library, int device, std::vector<std::int64_t> shape,
                         int dtype, std::uintptr_t stream)
    : shape_(std::move(shape)), dtype_(dtype) {
  if (dtype < 0 || dtype >= kDtypes) throw py::value_error("dtype: there is none of this number");
  std::int64_t size = dtype_size(dtype);
  for (const std::int64_t length : shape_)
    if (length < 0 || __builtin_mul_overflow(size, length, &size))
      throw py::value_error("shape: expected sizes from 0 whose product fits into memory");
  block_ = std::make_shared<DeviceBlock>(library, device, bytes(), stream);
  data_ = block_->data();
}

DeviceArray::DeviceArray(const DeviceArray& whole, std::int64_t index)
    : block_(whole.block_), dtype_(whole.dtype_) {
  if (whole.shape_.empty() || index < 0 || index >= whole.shape_[0])
    throw py::index_error("index " + std::to_string(index) + " of " + text_of(whole));
  shape_.assign(whole.shape_.begin() + 1, whole.shape_.end());
  data_ = static_cast<char*>(whole.data_) + std::size_t(index) * bytes();
}

std::size_t DeviceArray::bytes() const {
  std::size_t bytes = std::size_t(dtype_size(dtype_));
  for (const std::int64_t size : shape_) bytes *= std::size_t(size);
  return bytes;
}

void DeviceArray::write(const py::buffer& host) {
  const py::buffer_info info = host.request();
  if (std::size_t(info.size * info.itemsize) != bytes()) throw py::value_error("array: of another size");
  block_->library().call(block_->library().api().copy, device(), data_, static_cast<const void*>(info.ptr),
                         bytes(), as_stream(stream()));
}

void DeviceArray::read(const py::buffer& host) const {
  const py::buffer_info info = host.request(true);
  if (std::size_t(info.size * info.itemsize) != bytes()) throw py::value_error("array: of another size");
  // From the device into ordinary memory: the call returns when the bytes are there.
  block_->library().call(block_->library().api().copy, device(), info.ptr, static_cast<const void*>(data_),
                         bytes(), as_stream(stream()));
}

py::capsule DeviceArray::dlpack(const py::object& stream, const py::object& max_version,
                                const py::object& dl_device, const py::object& copy) {
  const std::optional<std::uintptr_t> consumer = consumer_stream(stream);
  if (!dl_device.is_none() && dl_device.cast<std::pair<int, int>>() != std::make_pair(int(kDLCuda), device()))
    raise_buffer_error("dl_device: the array is on cuda:" + std::to_string(device()) +
                       " and is exported there only; lstmcore.cuda.asnumpy copies it to the host");
  const bool copied = !copy.is_none() && copy.cast<bool>();
  std::shared_ptr<DeviceArray> array = shared_from_this();
  if (copied) {
    const CudaLibrary& library = block_->library();
    array =
        std::make_shared<DeviceArray>(library.shared_from_this(), device(), shape_, dtype_, this->stream());
    library.call(library.api().copy, device(), array->data_, static_cast<const void*>(data_), bytes(),
                 as_stream(this->stream()));
  }
  if (consumer) array->block_->lend(*consumer);
  const bool versioned =
      !max_version.is_none() && max_version.cast<std::pair<std::int64_t, std::int64_t>>().first >= 1;
  return versioned ? export_as<DLManagedTensorVersioned>(array, copied ? std::uint64_t{kDLCopied} : 0)
                   : export_as<DLManagedTensor>(array, 0);
}

py::dict DeviceArray::cuda_array_interface() const {
  const char* typestring = interface_type(dtype_);
  if (!typestring) throw py::attribute_error("__cuda_array_interface__ has no bfloat16; use __dlpack__");
  py::dict interface;
  interface["shape"] = py::tuple(py::cast(shape_));
  interface["typestr"] = typestring;
  // Empty arrays have no address.
  const std::uintptr_t address = bytes() ? reinterpret_cast<std::uintptr_t>(data_) : 0;
  interface["data"] = py::make_tuple(address, false);
  interface["version"] = 3;
  interface["strides"] = py::none();
  interface["stream"] = exported_stream(stream());
  return interface;
}

void register_device_array(py::module_& module) {
  py::class_<DeviceArray, std::shared_ptr<DeviceArray>>(
      module, "DeviceArray",
      "An array on a GPU. ``cuda.asnumpy(y)`` waits for it and copies it to the host;\n"
      "``torch.from_dlpack(y)`` and ``cupy.asarray(y)`` share its memory, and so does ``y[k]``. It has\n"
      "``shape``, ``ndim``, ``dtype_name``, ``device`` (the number of the GPU) and ``stream``.")
      .def(py::init<const std::shared_ptr<CudaLibrary>&, int, std::vector<std::int64_t>, int,
                    std::uintptr_t>(),
           py::arg("library").none(false), py::arg("device"), py::arg("shape"), py::arg("dtype"),
           py::arg("stream"))
      .def_property_readonly("shape", [](const DeviceArray& a) { return py::tuple(py::cast(a.shape())); })
      .def_property_readonly("ndim", [](const DeviceArray& a) { return a.shape().size(); })
      .def_property_readonly("dtype_name", [](const DeviceArray& a) { return dtype_name(a.dtype()); })
      .def_property_readonly("device", &DeviceArray::device)
      .def_property_readonly("stream", &DeviceArray::stream)
      .def_property_readonly("__cuda_array_interface__", &DeviceArray::cuda_array_interface)
      .def("__dlpack__", &DeviceArray::dlpack, py::kw_only(), py::arg("stream") = py::none(),
           py::arg("max_version") = py::none(), py::arg("dl_device") = py::none(),
           py::arg("copy") = py::none())
      .def("__dlpack_device__", [](const DeviceArray& a) { return py::make_tuple(int(kDLCuda), a.device()); })
      .def("__repr__", &text_of)
      .def("__len__", &length)
      .def("__getitem__", &item, py::arg("index"))
      .def("__array__", &refuse_host)
      .def("_write", &DeviceArray::write, py::arg("host"))
      .def("_read", &DeviceArray::read, py::arg("host"));
}

}  // namespace python
}  // namespace lstmcore
