#include "layer.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>

#include "../in_use.h"
#include "copies.h"
#include "lstmcore/activation.h"
#include "view.h"

namespace lstmcore {
namespace python {
namespace {

class CudaContext {
 public:
  CudaContext(std::shared_ptr<CudaLibrary> library, int device, const std::optional<std::string>& cublas)
      : library_(std::move(library)), device_(device) {
    library_->call(library_->api().create_context, device, cublas ? cublas->c_str() : nullptr, &context_);
  }
  ~CudaContext() {
    {
      const WithoutGil without_gil;  // it waits for the device
      library_->api().destroy_context(context_);
    }
    library_->keeper().release();
  }
  CudaContext(const CudaContext&) = delete;
  CudaContext& operator=(const CudaContext&) = delete;

  const CudaLibraryPtr& library() const { return library_; }
  int device() const { return device_; }
  lstmcore_cuda_context* get() const { return context_; }
  void synchronize(std::uintptr_t stream) const {
    library_->call(library_->api().synchronize, context_, as_stream(stream));
    library_->keeper().release();
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

// What a call names its arguments in errors.
struct Names {
  std::string x, out, c0, h0, c_n, h_n;
  explicit Names(const py::tuple& names)
      : x(names[0].cast<std::string>()),
        out(names[1].cast<std::string>()),
        c0(names[2].cast<std::string>()),
        h0(names[3].cast<std::string>()),
        c_n(names.size() > 4 ? names[4].cast<std::string>() : "c_n"),
        h_n(names.size() > 5 ? names[5].cast<std::string>() : "h_n") {}
};

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
  ~CudaLayer() {
    const WithoutGil without_gil;  // it waits for the device
    context_->library()->api().destroy_layer(layer_);
  }
  CudaLayer(const CudaLayer&) = delete;
  CudaLayer& operator=(const CudaLayer&) = delete;

  // Checks all that views of the arrays tell, then enqueues. Null is None: no y, no initial state.
  void forward(const py::object& x, const py::object& y, std::int64_t y_column, const py::object& c_seq,
               std::int64_t c_column, const py::object& c0, const py::object& h0, const py::object& c_n,
               const py::object& h_n, const std::optional<std::vector<std::int64_t>>& lengths,
               bool time_major, bool reverse, int path, std::uintptr_t stream,
               const py::tuple& argument_names) const {
    const Names names(argument_names);
    const Workplace at{context_->library(), context_->device(), stream};
    const std::int64_t H = spec_.num_units, P = spec_.num_proj ? spec_.num_proj : H;
    std::vector<DeviceView> views;
    views.reserve(7);
    const auto view = [&](const py::object& array, const std::string& name) -> const DeviceView& {
      views.push_back(view_of(array, name, at));
      return views.back();
    };
    lstmcore_cuda_forward args{};
    const DeviceView& input = view(x, names.x);
    set_input(args, input, time_major);
    const auto output = [&](const py::object& array, const std::string& name, int dtype, std::int64_t width,
                            std::int64_t column) -> lstmcore_cuda_sequence {
      if (array.is_none()) return {};
      return output_of(view(array, name), input, dtype, width, column, time_major);
    };
    const auto state = [&](const py::object& array, const std::string& name, int dtype,
                           std::int64_t width) -> void* {
      return array.is_none() ? nullptr : state_of(view(array, name), dtype, args.batch, width);
    };
    args.y = output(y, names.out, spec_.dtype, P, y_column);
    args.c_seq = output(c_seq, "c", wide_dtype(), H, c_column);
    args.c0 = state(c0, names.c0, wide_dtype(), H);
    args.h0 = state(h0, names.h0, spec_.dtype, P);
    args.c_n = state(c_n, names.c_n, wide_dtype(), H);
    if (args.c_n) check_final_state(views, names.c0);
    args.h_n = state(h_n, names.h_n, spec_.dtype, P);
    if (args.h_n) check_final_state(views, {});
    check_lengths(args, lengths);
    args.lengths = lengths ? lengths->data() : nullptr;
    args.reverse = reverse;
    args.path = path;
    args.stream = as_stream(stream);
    enqueue(at, views, at.library->api().forward, layer_, static_cast<const lstmcore_cuda_forward*>(&args));
    for (const py::object& written : {y, c_seq, c_n, h_n}) finish_output(written, at);
  }

  py::dict plan(std::int64_t steps, std::int64_t batch, int path) const {
    const CudaLibrary& library = *context_->library();
    lstmcore_cuda_device device{};
    lstmcore_cuda_plan plan{};
    library.call(library.api().context_device, context_->get(), &device);
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

  // Of sums and the cell state.
  int wide_dtype() const {
    return spec_.dtype == LSTMCORE_CUDA_FLOAT64 ? LSTMCORE_CUDA_FLOAT64 : LSTMCORE_CUDA_FLOAT32;
  }

  void set_input(lstmcore_cuda_forward& args, const DeviceView& x, bool time_major) const {
    x.check(spec_.dtype, {3, 2});
    const std::int64_t I = spec_.input_size;
    if (x.shape.back() != I)
      throw py::value_error(x.name + ": expected depth " + std::to_string(I) + ", got shape " +
                            x.shape_text());
    const bool step = x.rank() == 2;
    args.steps = step ? 1 : x.shape[time_major ? 0 : 1];
    args.batch = step ? x.shape[0] : x.shape[time_major ? 1 : 0];
    args.x = sequence_of(x, time_major, 0);
    // cuBLAS takes no rows that overlap. The stride of an axis of one entry is free: one that makes all rows
    // a single matrix.
    if ((args.batch > 1 && args.x.row_stride < I) ||
        (args.steps > 1 && args.x.step_stride && args.x.step_stride < I))
      throw py::value_error(x.name + ": expected rows that do not share memory");
    if (args.batch <= 1) args.x.row_stride = std::max(args.x.step_stride, I);
    if (args.steps <= 1) args.x.step_stride = args.batch * args.x.row_stride;
  }

  static lstmcore_cuda_sequence output_of(const DeviceView& out, const DeviceView& x, int dtype,
                                          std::int64_t width, std::int64_t column, bool time_major) {
    out.check(dtype, {x.rank()});
    out.check_output();
    if (!std::equal(x.shape.begin(), x.shape.end() - 1, out.shape.begin()) ||
        out.shape.back() < column + width)
      throw py::value_error(out.name + ": expected the axes of the inputs " + x.shape_text() +
                            ", got shape " + out.shape_text());
    return sequence_of(out, time_major, column);
  }

  static void* state_of(const DeviceView& values, int dtype, std::int64_t batch, std::int64_t width) {
    values.check(dtype, {2});
    if (values.shape[0] != batch || values.shape[1] != width)
      throw py::value_error(values.name + ": expected shape (" + std::to_string(batch) + ", " +
                            std::to_string(width) + "), got " + values.shape_text());
    if (batch > 1 && values.strides[0] != width)
      throw py::value_error(values.name + ": expected a contiguous array");
    return values.data;
  }

  // The last view is written while the others are read, or written too; it may be the one of name `in_place`.
  static void check_final_state(const std::vector<DeviceView>& views, const std::string& in_place) {
    const DeviceView& state = views.back();
    state.check_output();
    for (auto other = views.begin(); other + 1 != views.end(); ++other)
      if (state.overlaps(*other) && !(other->name == in_place && other->data == state.data))
        throw py::value_error(state.name + " and " + other->name + " may not share memory");
  }

  static void check_lengths(const lstmcore_cuda_forward& args,
                            const std::optional<std::vector<std::int64_t>>& lengths) {
    if (lengths && std::int64_t(lengths->size()) != args.batch)
      throw py::value_error("lengths: expected " + std::to_string(args.batch) + " of them, got " +
                            std::to_string(lengths->size()));
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

int device_of(const CudaLibrary& library, std::uintptr_t address) {
  int device = -1;
  library.call(library.api().device_of, reinterpret_cast<const void*>(address), &device);
  return std::max(device, 0);  // what reads the array says what is wrong with the address
}

}  // namespace

void register_cuda(py::module_& module) {
  py::class_<CudaLibrary, std::shared_ptr<CudaLibrary>>(module, "CudaLibrary")
      .def(py::init<const std::string&>(), py::arg("file"))
      .def("device_count", &count)
      .def("device", &describe, py::arg("index"))
      .def("device_of", &device_of, py::arg("address"));
  register_device_array(module);
  register_copies(module);
  py::class_<CudaContext, std::shared_ptr<CudaContext>>(module, "CudaContext")
      .def(py::init<std::shared_ptr<CudaLibrary>, int, const std::optional<std::string>&>(),
           py::arg("library").none(false), py::arg("device"), py::arg("cublas"))
      .def_property_readonly("device", &CudaContext::device)
      .def("synchronize", &CudaContext::synchronize, py::arg("stream"));
  py::class_<CudaLayer>(module, "CudaLayer")
      .def(py::init<std::shared_ptr<CudaContext>, const py::dict&, const py::dict&>(),
           py::arg("context").none(false), py::arg("spec"), py::arg("weights"))
      .def("forward", &CudaLayer::forward, py::arg("x"), py::arg("y"), py::arg("y_column"), py::arg("c_seq"),
           py::arg("c_column"), py::arg("c0"), py::arg("h0"), py::arg("c_n"), py::arg("h_n"),
           py::arg("lengths"), py::arg("time_major"), py::arg("reverse"), py::arg("path"), py::arg("stream"),
           py::arg("names"))
      .def("plan", &CudaLayer::plan, py::arg("steps"), py::arg("batch"), py::arg("path") = 0);
}

}  // namespace python
}  // namespace lstmcore
