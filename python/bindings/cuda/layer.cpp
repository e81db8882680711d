#include "layer.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <optional>

#include "array.h"
#include "lstmcore/activation.h"

namespace lstmcore {
namespace python {
namespace {

class CudaContext {
 public:
  CudaContext(std::shared_ptr<CudaLibrary> library, int device, const std::optional<std::string>& cublas)
      : library_(std::move(library)), device_(device) {
    library_->call(library_->api().create_context, device, cublas ? cublas->c_str() : nullptr, &context_);
  }
  ~CudaContext() { library_->api().destroy_context(context_); }
  CudaContext(const CudaContext&) = delete;
  CudaContext& operator=(const CudaContext&) = delete;

  const CudaLibraryPtr& library() const { return library_; }
  int device() const { return device_; }
  lstmcore_cuda_context* get() const { return context_; }
  void synchronize(std::uintptr_t stream) const {
    library_->call(library_->api().synchronize, context_, reinterpret_cast<void*>(stream));
  }
  // What multiplies: "cublasLt 13.1.0", or "lstmcore" where there is no cuBLAS.
  std::string products() const {
    int version = 0;
    library_->call(library_->api().cublas_version, context_, &version);
    return version ? "cublasLt " + std::to_string(version / 10000) + "." +
                         std::to_string(version / 100 % 100) + "." + std::to_string(version % 100)
                   : "lstmcore";
  }

 private:
  CudaLibraryPtr library_;
  int device_;
  lstmcore_cuda_context* context_ = nullptr;
};

using Host = py::array_t<double, py::array::c_style | py::array::forcecast>;

// The sequence as [T, N, width], whatever order its axes have.
lstmcore_cuda_sequence sequence_of(const DeviceView& view, bool time_major, std::int64_t column) {
  const std::int64_t bytes = view.dtype == LSTMCORE_CUDA_FLOAT32   ? 4
                             : view.dtype == LSTMCORE_CUDA_FLOAT64 ? 8
                                                                   : 2;
  return {static_cast<char*>(view.data) + column * bytes, view.strides[time_major ? 0 : 1],
          view.strides[time_major ? 1 : 0]};
}

class CudaLayer {
 public:
  CudaLayer(std::shared_ptr<CudaContext> context, const py::dict& spec, const py::dict& weights)
      : context_(std::move(context)), spec_(spec_of(spec)) {
    std::vector<Host> keep;
    const auto data = [&](const char* name) -> const double* {
      if (!weights.contains(name)) return nullptr;
      keep.push_back(weights[name].cast<Host>());
      return keep.back().data();
    };
    const lstmcore_cuda_weights arrays{data("W"),   data("R"),   data("b"),         data("p_i"),
                                       data("p_f"), data("p_o"), data("projection")};
    const CudaLibrary& library = *context_->library();
    library.call(library.api().create_layer, context_->get(), &spec_, &arrays, &layer_);
  }
  ~CudaLayer() { context_->library()->api().destroy_layer(layer_); }
  CudaLayer(const CudaLayer&) = delete;
  CudaLayer& operator=(const CudaLayer&) = delete;

  // Arrays were checked in Python but for what only their views tell: device, dtype, shape, dense rows.
  void forward(const py::object& x, const py::object& y, std::int64_t y_column, const py::object& c_seq,
               std::int64_t c_column, const py::object& c0, const py::object& h0, const py::object& c_n,
               const py::object& h_n, const std::optional<std::vector<std::int64_t>>& lengths,
               bool time_major, bool reverse, int path, std::uintptr_t stream) const {
    std::vector<DeviceView> views;
    const auto view = [&](const py::object& array, const char* name) -> const DeviceView& {
      views.push_back(view_of(array, name, stream));
      return views.back();
    };
    views.reserve(7);
    const int wide = spec_.dtype == LSTMCORE_CUDA_FLOAT64 ? LSTMCORE_CUDA_FLOAT64 : LSTMCORE_CUDA_FLOAT32;
    const std::int64_t H = spec_.num_units, P = spec_.num_proj ? spec_.num_proj : H;
    lstmcore_cuda_forward args{};
    const DeviceView& input = view(x, "x");
    check(input, "x", spec_.dtype, 3);
    if (input.shape[2] != spec_.input_size)
      throw py::value_error("x: expected depth " + std::to_string(spec_.input_size) + ", got " +
                            std::to_string(input.shape[2]));
    args.steps = input.shape[time_major ? 0 : 1];
    args.batch = input.shape[time_major ? 1 : 0];
    args.x = sequence_of(input, time_major, 0);
    const auto output = [&](const py::object& array, const char* name, int dtype, std::int64_t width,
                            std::int64_t column) -> lstmcore_cuda_sequence {
      if (array.is_none()) return {};
      const DeviceView& out = view(array, name);
      check(out, name, dtype, 3);
      if (out.shape[0] != input.shape[0] || out.shape[1] != input.shape[1] || out.shape[2] < column + width)
        throw py::value_error(std::string(name) + ": of another shape than the outputs");
      return sequence_of(out, time_major, column);
    };
    const auto state = [&](const py::object& array, const char* name, int dtype,
                           std::int64_t width) -> void* {
      if (array.is_none()) return nullptr;
      const DeviceView& values = view(array, name);
      check(values, name, dtype, 2);
      if (values.shape[0] != args.batch || values.shape[1] != width ||
          (args.batch > 1 && values.strides[0] != width))
        throw py::value_error(std::string(name) + ": expected a dense array (" + std::to_string(args.batch) +
                              ", " + std::to_string(width) + ")");
      return values.data;
    };
    args.y = output(y, "out", spec_.dtype, P, y_column);
    args.c_seq = output(c_seq, "c", wide, H, c_column);
    args.c0 = state(c0, "initial_state.c", wide, H);
    args.h0 = state(h0, "initial_state.h", spec_.dtype, P);
    args.c_n = state(c_n, "c_n", wide, H);
    args.h_n = state(h_n, "h_n", spec_.dtype, P);
    if (lengths && std::int64_t(lengths->size()) != args.batch)
      throw py::value_error("lengths: expected " + std::to_string(args.batch) + " of them, got " +
                            std::to_string(lengths->size()));
    args.lengths = lengths ? lengths->data() : nullptr;
    args.reverse = reverse;
    args.path = path;
    args.stream = reinterpret_cast<void*>(stream);
    const CudaLibrary& library = *context_->library();
    library.call(library.api().forward, layer_, static_cast<const lstmcore_cuda_forward*>(&args));
  }

  py::dict plan(std::int64_t steps, std::int64_t batch, int path) const {
    const CudaLibrary& library = *context_->library();
    lstmcore_cuda_device device{};
    lstmcore_cuda_plan plan{};
    library.call(library.api().device, context_->device(), &device);
    library.call(library.api().plan, static_cast<const lstmcore_cuda_device*>(&device),
                 static_cast<const lstmcore_cuda_spec*>(&spec_), steps, batch, path, &plan);
    using namespace py::literals;
    return py::dict("path"_a = plan.path, "kernel"_a = plan.kernel, "rows_per_group"_a = plan.rows_per_group,
                    "groups"_a = plan.groups, "blocks_per_group"_a = plan.blocks_per_group,
                    "units_per_block"_a = plan.units_per_block, "words_per_thread"_a = plan.words_per_thread,
                    "shared_bytes"_a = plan.shared_bytes, "exchange_bytes_per_step"_a = plan.exchange_bytes,
                    "estimated_step_us"_a = plan.estimated_step_us, "products"_a = context_->products());
  }

 private:
  static lstmcore_cuda_spec spec_of(const py::dict& from) {
    lstmcore_cuda_spec spec{};
    spec.input_size = from["input_size"].cast<std::int64_t>();
    spec.num_units = from["num_units"].cast<std::int64_t>();
    const auto number = [&](const char* name, int& has, double& value) {
      has = !from[name].is_none();
      if (has) value = from[name].cast<double>();
    };
    if (!from["num_proj"].is_none()) spec.num_proj = from["num_proj"].cast<std::int64_t>();
    spec.peepholes = from["use_peepholes"].cast<bool>();
    spec.forget_bias = from["forget_bias"].cast<double>();
    number("cell_clip", spec.has_cell_clip, spec.cell_clip);
    number("proj_clip", spec.has_proj_clip, spec.proj_clip);
    spec.activation = int(activation_from_name(from["activation"].cast<std::string>()));
    spec.recurrent_activation = int(activation_from_name(from["recurrent_activation"].cast<std::string>()));
    spec.dtype = from["dtype"].cast<int>();
    spec.math = from["math"].cast<int>();
    return spec;
  }

  void check(const DeviceView& view, const char* name, int dtype, std::size_t rank) const {
    if (view.device != context_->device())
      throw py::value_error(std::string(name) +
                            ": expected an array on cuda:" + std::to_string(context_->device()) +
                            ", got one on cuda:" + std::to_string(view.device));
    if (view.dtype != dtype)
      throw py::type_error(std::string(name) + ": expected " + dtype_name(dtype) + ", got " +
                           dtype_name(view.dtype));
    if (view.shape.size() != rank)
      throw py::value_error(std::string(name) + ": expected " + std::to_string(rank) + " axes, got " +
                            std::to_string(view.shape.size()));
    if (view.shape.back() > 1 && view.strides.back() != 1)
      throw py::value_error(std::string(name) + ": expected the last axis to be contiguous");
    for (const std::int64_t stride : view.strides)
      if (stride < 0) throw py::value_error(std::string(name) + ": expected no negative strides");
  }

  std::shared_ptr<CudaContext> context_;
  lstmcore_cuda_spec spec_;
  lstmcore_cuda_layer* layer_ = nullptr;
};

py::dict describe(const CudaLibrary& library, int index) {
  lstmcore_cuda_device device{};
  library.call(library.api().device, index, &device);
  using namespace py::literals;
  return py::dict("name"_a = device.name,
                  "compute_capability"_a = py::make_tuple(device.compute_major, device.compute_minor),
                  "multiprocessors"_a = device.multiprocessors, "memory"_a = device.memory);
}

int count(const CudaLibrary& library) {
  int devices = 0;
  library.call(library.api().device_count, &devices);
  return devices;
}

}  // namespace

void register_cuda(py::module_& module) {
  py::class_<CudaLibrary, std::shared_ptr<CudaLibrary>>(module, "CudaLibrary")
      .def(py::init<const std::string&>(), py::arg("file"))
      .def("device_count", &count)
      .def("device", &describe, py::arg("index"));
  register_device_array(module);
  py::class_<CudaContext, std::shared_ptr<CudaContext>>(module, "CudaContext")
      .def(py::init<std::shared_ptr<CudaLibrary>, int, const std::optional<std::string>&>(),
           py::arg("library"), py::arg("device"), py::arg("cublas"))
      .def("synchronize", &CudaContext::synchronize, py::arg("stream"));
  py::class_<CudaLayer>(module, "CudaLayer")
      .def(py::init<std::shared_ptr<CudaContext>, const py::dict&, const py::dict&>(), py::arg("context"),
           py::arg("spec"), py::arg("weights"))
      .def("forward", &CudaLayer::forward, py::arg("x"), py::arg("y"), py::arg("y_column"), py::arg("c_seq"),
           py::arg("c_column"), py::arg("c0"), py::arg("h0"), py::arg("c_n"), py::arg("h_n"),
           py::arg("lengths"), py::arg("time_major"), py::arg("reverse"), py::arg("path"), py::arg("stream"))
      .def("plan", &CudaLayer::plan, py::arg("steps"), py::arg("batch"), py::arg("path") = 0);
}

}  // namespace python
}  // namespace lstmcore
