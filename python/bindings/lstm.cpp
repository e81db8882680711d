#include "lstm.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "arrays.h"
#include "lstmcore/lstm.h"

namespace lstmcore {
namespace python {
namespace {

// A py::array keeps its memory alive while the GIL is released.
template <class T>
Lstm<T> make_lstm(const LstmSpec& base, const py::object& kernel_, const py::object& bias_,
                  const py::object& w_i_diag, const py::object& w_f_diag, const py::object& w_o_diag,
                  const py::object& proj_kernel) {
  LstmSpec spec = base;
  const auto dtype = py::dtype::of<T>();
  const py::ssize_t H = spec.num_units;
  LstmWeights<T> weights;
  py::array projection;
  if (!proj_kernel.is_none()) {
    projection = checked_input(proj_kernel, "proj_kernel", dtype, {H, kAnySize});
    spec.num_proj = projection.shape(1);
    weights.projection = data<T>(projection);
  }
  const py::ssize_t P = spec.output_size();
  const py::array kernel = checked_input(kernel_, "kernel", dtype, {kAnySize, 4 * H});
  if (kernel.shape(0) < P)
    throw py::value_error("kernel: expected at least " + std::to_string(P) +
                          " rows for the hidden state, got " + std::to_string(kernel.shape(0)));
  spec.input_size = kernel.shape(0) - P;
  weights.W = data<T>(kernel);
  weights.R = weights.W + spec.input_size * 4 * H;
  const py::array bias = checked_input(bias_, "bias", dtype, {4 * H});
  weights.b = data<T>(bias);
  py::array p_i, p_f, p_o;
  if (!(w_i_diag.is_none() && w_f_diag.is_none() && w_o_diag.is_none())) {
    p_i = checked_input(w_i_diag, "w_i_diag", dtype, {H});
    p_f = checked_input(w_f_diag, "w_f_diag", dtype, {H});
    p_o = checked_input(w_o_diag, "w_o_diag", dtype, {H});
    spec.peepholes = true;
    weights.p_i = data<T>(p_i);
    weights.p_f = data<T>(p_f);
    weights.p_o = data<T>(p_o);
  }
  const std::string isa = current_isa();  // while the GIL keeps the environment still
  const py::gil_scoped_release release;
  return Lstm<T>(spec, weights, isa);
}

template <class T>
SequenceView<T> view(py::array& array, bool time_major) {
  constexpr auto size = static_cast<py::ssize_t>(sizeof(T));
  const py::ssize_t first = array.strides(0) / size, second = array.strides(1) / size;
  return {mutable_data<T>(array), time_major ? first : second, time_major ? second : first};
}

struct SequenceRequest {
  py::object x, c0, h0, lengths, out, c_out;
  bool time_major, reverse;
  int threads;
};

class PyLstm {
 public:
  template <class T>
  explicit PyLstm(Lstm<T>&& lstm) : lstm_(std::move(lstm)) {}

  const LstmSpec& spec() const {
    return std::visit([](const auto& lstm) -> const LstmSpec& { return lstm.spec(); }, lstm_);
  }
  const char* isa() const {
    return std::visit([](const auto& lstm) { return lstm.isa(); }, lstm_);
  }
  std::size_t packed_bytes() const {
    return std::visit([](const auto& lstm) { return lstm.packed_bytes(); }, lstm_);
  }
  // Of this object's Lstm<T>, null where T is the other type. `self` is this object.
  template <class T>
  std::shared_ptr<const Lstm<T>> shared(const py::object& self) const {
    const auto* lstm = std::get_if<Lstm<T>>(&lstm_);
    if (!lstm) return nullptr;
    return {lstm, [self](const Lstm<T>*) {}};
  }
  const char* dtype() const { return std::holds_alternative<Lstm<float>>(lstm_) ? "float32" : "float64"; }

  py::tuple step(const py::object& x, const py::object& c, const py::object& h) const {
    return std::visit([&](const auto& lstm) { return step_of(lstm, x, c, h); }, lstm_);
  }
  py::tuple forward(const SequenceRequest& request) const {
    return std::visit([&](const auto& lstm) { return forward_of(lstm, request); }, lstm_);
  }
  py::tuple forward_gates(const py::object& x, const py::object& c0, const py::object& h0,
                          std::int64_t steps) const {
    return std::visit([&](const auto& lstm) { return forward_gates_of(lstm, x, c0, h0, steps); }, lstm_);
  }

 private:
  template <class T>
  static py::tuple step_of(const Lstm<T>& lstm, const py::object& x_, const py::object& c_,
                           const py::object& h_) {
    const auto dtype = py::dtype::of<T>();
    const py::ssize_t H = lstm.spec().num_units, P = lstm.spec().output_size();
    const py::array x = checked_input(x_, "x", dtype, {kAnySize, lstm.spec().input_size});
    const py::ssize_t N = x.shape(0);
    const py::array c = checked_input(c_, "c", dtype, {N, H});
    const py::array h = checked_input(h_, "h", dtype, {N, P});
    py::array c_new(dtype, Shape{N, H}), h_new(dtype, Shape{N, P});
    T* const c_to = mutable_data<T>(c_new);
    T* const h_to = mutable_data<T>(h_new);
    {
      const py::gil_scoped_release release;
      lstm.step(N, data<T>(x), data<T>(c), data<T>(h), c_to, h_to);
    }
    return py::make_tuple(std::move(c_new), std::move(h_new));
  }

  template <class T>
  static py::tuple forward_of(const Lstm<T>& lstm, const SequenceRequest& request) {
    const auto dtype = py::dtype::of<T>();
    const py::ssize_t H = lstm.spec().num_units, P = lstm.spec().output_size();
    py::array x = checked_input(request.x, "x", dtype, {kAnySize, kAnySize, lstm.spec().input_size});
    const auto outer = [&](py::ssize_t width) { return Shape{x.shape(0), x.shape(1), width}; };

    ForwardArgs<T> args;
    args.steps = x.shape(request.time_major ? 0 : 1);
    args.batch = x.shape(request.time_major ? 1 : 0);
    args.reverse = request.reverse;
    args.threads = request.threads;
    const py::ssize_t row = x.shape(2);
    args.x = {data<T>(x), request.time_major ? args.batch * row : row,
              request.time_major ? row : args.steps * row};

    py::array c0, h0, lengths, c_out;
    if (!request.c0.is_none())
      args.c0 = data<T>(c0 = checked_input(request.c0, "c0", dtype, {args.batch, H}));
    if (!request.h0.is_none())
      args.h0 = data<T>(h0 = checked_input(request.h0, "h0", dtype, {args.batch, P}));
    std::vector<std::int64_t> lengths_copy;  // another thread may change the array once the GIL is released
    if (!request.lengths.is_none()) {
      lengths = checked_input(request.lengths, "lengths", py::dtype::of<std::int64_t>(), {args.batch});
      lengths_copy.assign(data<std::int64_t>(lengths), data<std::int64_t>(lengths) + args.batch);
      args.lengths = lengths_copy.data();
    }
    if (request.threads < 0)
      throw py::value_error("threads must not be negative, got " + std::to_string(request.threads));
    py::array y = request.out.is_none() ? py::array(dtype, outer(P))
                                        : checked_output(request.out, "out", dtype, outer(P));
    args.y = view<T>(y, request.time_major);
    const std::pair<const py::array*, const char*> inputs[] = {
        {&x, "x"}, {&c0, "c0"}, {&h0, "h0"}, {&lengths, "lengths"}};
    for (const auto& [input, name] : inputs) check_no_overlap(y, "out", *input, name);
    if (!request.c_out.is_none()) {
      c_out = checked_output(request.c_out, "c_out", dtype, outer(H));
      args.c_seq = view<T>(c_out, request.time_major);
      for (const auto& [input, name] : inputs) check_no_overlap(c_out, "c_out", *input, name);
      check_no_overlap(c_out, "c_out", y, "out");
    }
    py::array c_n(dtype, Shape{args.batch, H}), h_n(dtype, Shape{args.batch, P});
    args.c_n = mutable_data<T>(c_n);
    args.h_n = mutable_data<T>(h_n);
    {
      const py::gil_scoped_release release;
      lstm.forward(args);
    }
    return py::make_tuple(std::move(y), std::move(c_n), std::move(h_n));
  }

  template <class T>
  static py::tuple forward_gates_of(const Lstm<T>& lstm, const py::object& x_, const py::object& c0_,
                                    const py::object& h0_, std::int64_t steps) {
    const auto dtype = py::dtype::of<T>();
    const py::ssize_t H = lstm.spec().num_units;
    const py::array x = checked_input(x_, "x", dtype, {kAnySize, kAnySize, lstm.spec().input_size});
    const py::ssize_t T_max = x.shape(0), N = x.shape(1);
    const py::array c0 = checked_input(c0_, "c0", dtype, {N, H});
    const py::array h0 = checked_input(h0_, "h0", dtype, {N, H});
    if (steps < 0 || steps > T_max)
      throw py::value_error("steps must be in 0.." + std::to_string(T_max) + ", got " +
                            std::to_string(steps));
    py::array outputs[7];  // i, cs, f, o, ci, co, h
    T* to[7];
    for (int k = 0; k < 7; ++k) {
      outputs[k] = py::array(dtype, Shape{T_max, N, H});
      to[k] = mutable_data<T>(outputs[k]);
      std::fill(to[k] + steps * N * H, to[k] + T_max * N * H, T(0));
    }
    py::array c_n(dtype, Shape{N, H});
    ForwardArgs<T> args;
    args.steps = steps;
    args.batch = N;
    args.x = {data<T>(x), N * x.shape(2), x.shape(2)};
    args.c0 = data<T>(c0);
    args.h0 = data<T>(h0);
    args.y = {to[6], N * H, H};
    args.c_seq = {to[1], N * H, H};
    args.gates = {to[0], to[2], to[3], to[4], to[5]};
    args.c_n = mutable_data<T>(c_n);
    {
      const py::gil_scoped_release release;
      lstm.forward(args);
    }
    py::tuple result(7);
    for (std::size_t k = 0; k < 7; ++k) result[k] = std::move(outputs[k]);
    return result;
  }

  std::variant<Lstm<float>, Lstm<double>> lstm_;
};

PyLstm construct(const py::object& kernel, const py::object& bias, std::int64_t num_units,
                 const py::object& w_i_diag, const py::object& w_f_diag, const py::object& w_o_diag,
                 const py::object& proj_kernel, double forget_bias, std::optional<double> cell_clip,
                 std::optional<double> proj_clip, const std::string& activation) {
  if (num_units < 0 || num_units > kMaxSize)
    throw py::value_error("num_units must be in 0.." + std::to_string(kMaxSize) + ", got " +
                          std::to_string(num_units));
  LstmSpec spec;
  spec.num_units = num_units;
  spec.forget_bias = forget_bias;
  spec.cell_clip = cell_clip;
  spec.proj_clip = proj_clip;
  spec.activation = activation_from_name(activation);
  if (!py::isinstance<py::array>(kernel)) throw py::type_error("kernel: expected a NumPy array");
  const auto dtype = py::reinterpret_borrow<py::array>(kernel).dtype();
  if (dtype.equal(py::dtype::of<float>()))
    return PyLstm(make_lstm<float>(spec, kernel, bias, w_i_diag, w_f_diag, w_o_diag, proj_kernel));
  if (dtype.equal(py::dtype::of<double>()))
    return PyLstm(make_lstm<double>(spec, kernel, bias, w_i_diag, w_f_diag, w_o_diag, proj_kernel));
  throw py::type_error("kernel: expected float32 or float64, got " + py::str(dtype).cast<std::string>());
}

template <class T>
Layers<T> layers_of_type(const py::sequence& lstms) {
  Layers<T> layers;
  for (const py::handle& item : lstms) {
    const auto lstm = py::reinterpret_borrow<py::object>(item);
    if (!py::isinstance<PyLstm>(lstm)) throw py::type_error("layers: expected _core.Lstm objects");
    layers.push_back(lstm.cast<const PyLstm&>().shared<T>(lstm));
    if (!layers.back()) throw py::type_error("layers: expected one dtype for all");
  }
  return layers;
}

}  // namespace

AnyLayers layers_of(const py::object& lstms) {
  if (!py::isinstance<py::sequence>(lstms) || py::len(lstms) == 0)
    throw py::type_error("layers: expected a sequence of _core.Lstm objects, and at least one");
  const auto sequence = py::reinterpret_borrow<py::sequence>(lstms);
  const py::object first = sequence[0];
  if (!py::isinstance<PyLstm>(first) || first.cast<const PyLstm&>().shared<float>(first))
    return layers_of_type<float>(sequence);
  return layers_of_type<double>(sequence);
}

void register_lstm(py::module_& module) {
  const py::object none = py::none();
  py::class_<PyLstm>(module, "Lstm")
      .def(py::init(&construct), py::arg("kernel"), py::arg("bias"), py::kw_only(), py::arg("num_units"),
           py::arg("w_i_diag") = none, py::arg("w_f_diag") = none, py::arg("w_o_diag") = none,
           py::arg("proj_kernel") = none, py::arg("forget_bias") = 1.0, py::arg("cell_clip") = none,
           py::arg("proj_clip") = none, py::arg("activation") = "tanh")
      .def_property_readonly("input_size", [](const PyLstm& self) { return self.spec().input_size; })
      .def_property_readonly("num_units", [](const PyLstm& self) { return self.spec().num_units; })
      .def_property_readonly("output_size", [](const PyLstm& self) { return self.spec().output_size(); })
      .def_property_readonly("dtype", &PyLstm::dtype)
      .def_property_readonly("isa", &PyLstm::isa)
      .def_property_readonly("packed_bytes", &PyLstm::packed_bytes)
      .def("step", &PyLstm::step, py::arg("x"), py::arg("c"), py::arg("h"))
      .def(
          "forward",
          [](const PyLstm& self, py::object x, py::object c0, py::object h0, py::object lengths,
             bool time_major, bool reverse, py::object out, py::object c_out, int threads) {
            return self.forward({std::move(x), std::move(c0), std::move(h0), std::move(lengths),
                                 std::move(out), std::move(c_out), time_major, reverse, threads});
          },
          py::arg("x"), py::arg("c0") = none, py::arg("h0") = none, py::arg("lengths") = none, py::kw_only(),
          py::arg("time_major") = false, py::arg("reverse") = false, py::arg("out") = none,
          py::arg("c_out") = none, py::arg("threads") = 0)
      .def("forward_gates", &PyLstm::forward_gates, py::arg("x"), py::arg("c0"), py::arg("h0"),
           py::arg("steps"));
}

}  // namespace python
}  // namespace lstmcore
