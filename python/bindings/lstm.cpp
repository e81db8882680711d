#include "lstm.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "arrays.h"
#include "construct.h"
#include "dense.h"
#include "fastcall.h"
#include "lstmcore/lstm.h"
#include "native_call.h"
#include "sequence_call.h"

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
  std::optional<Lstm<T>> lstm;
  native_call([&](Interruption* interruption) { lstm.emplace(spec, weights, isa, interruption); });
  return std::move(*lstm);
}

// What the arguments of a step are called in errors.
struct StepNames {
  const char *x, *c, *h, *h_new, *c_new;
};
constexpr StepNames kStepNames{"x", "c", "h", "out", "state_out"};
constexpr StepNames kCellNames{"inputs", "c of state", "h of state", "out[1] (h)", "out[0] (c)"};

class PyLstm {
 public:
  template <class T>
  explicit PyLstm(Lstm<T>&& lstm) : lstm_(std::move(lstm)), dtype_(py::dtype::of<T>()) {}

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

  // New c and h, from x, c, h, and where h and c are to go, null for new arrays.
  std::pair<py::array, py::array> step(PyObject* const (&values)[5], const StepNames& names) const {
    if (const auto* lstm = std::get_if<Lstm<float>>(&lstm_)) return step_of(*lstm, values, names);
    return step_of(std::get<Lstm<double>>(lstm_), values, names);
  }
  py::tuple forward(const SequenceRequest& request) const {
    return std::visit(
        [&](const auto& lstm) {
          SequenceCall call(lstm, request);
          native_call([&](Interruption* interruption) { lstm.forward(call.args(interruption)); });
          return call.result();
        },
        lstm_);
  }
  // This one forwards and the other one backwards over the same x.
  py::tuple forward_both(const PyLstm& other, const SequenceRequest& request,
                         const SequenceRequest& other_request) const {
    return std::visit(
        [&](const auto& lstm) {
          using LstmOfT = std::decay_t<decltype(lstm)>;
          const auto* other_lstm = std::get_if<LstmOfT>(&other.lstm_);
          if (!other_lstm)
            throw py::type_error("bw: expected the dtype of fw, got " + std::string(other.dtype()));
          SequenceCall call(lstm, request), other_call(*other_lstm, other_request);
          native_call([&](Interruption* interruption) {
            const decltype(call.with(lstm, interruption)) calls[] = {
                call.with(lstm, interruption), other_call.with(*other_lstm, interruption)};
            forward_all(calls, 2);
          });
          return py::make_tuple(call.result(), other_call.result());
        },
        lstm_);
  }
  py::tuple forward_gates(const py::object& x, const py::object& c0, const py::object& h0,
                          std::int64_t steps) const {
    return std::visit([&](const auto& lstm) { return forward_gates_of(lstm, x, c0, h0, steps); }, lstm_);
  }

 private:
  template <class T>
  std::pair<py::array, py::array> step_of(const Lstm<T>& lstm, PyObject* const (&values)[5],
                                          const StepNames& names) const {
    const py::ssize_t H = lstm.spec().num_units, P = lstm.spec().output_size();
    const py::array x = matrix(values[0], names.x, kAnySize, lstm.spec().input_size);
    const py::ssize_t N = x.shape(0);
    const py::array c = matrix(values[1], names.c, N, H), h = matrix(values[2], names.h, N, P);
    py::array h_new =
        values[3] ? matrix_output(values[3], names.h_new, dtype_, N, P) : new_matrix(dtype_, N, P);
    py::array c_new =
        values[4] ? matrix_output(values[4], names.c_new, dtype_, N, H) : new_matrix(dtype_, N, H);
    if (values[3] || values[4]) {
      for (const auto& [input, name] :
           {std::pair(&x, names.x), std::pair(&c, names.c), std::pair(&h, names.h)}) {
        check_no_overlap(h_new, names.h_new, *input, name);
        const bool in_place = input == &c && c_new.data() == c.data();
        if (!in_place) check_no_overlap(c_new, names.c_new, *input, name);
      }
      check_no_overlap(c_new, names.c_new, h_new, names.h_new);
    }
    T* const c_to = mutable_data<T>(c_new);
    T* const h_to = mutable_data<T>(h_new);
    const bool in_place = c_to == data<T>(c);  // runs to its end: a state is never half written
    native_call([&](Interruption* interruption) {
      lstm.step(N, data<T>(x), data<T>(c), data<T>(h), c_to, h_to, in_place ? nullptr : interruption);
    });
    return {std::move(c_new), std::move(h_new)};
  }

  py::array matrix(PyObject* value, const char* name, py::ssize_t rows, py::ssize_t width) const {
    return matrix_input(value, name, dtype_, rows, width);
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
    native_call([&](Interruption* interruption) {
      args.interruption = interruption;
      lstm.forward(args);
    });
    py::tuple result(7);
    for (std::size_t k = 0; k < 7; ++k) result[k] = std::move(outputs[k]);
    return result;
  }

  std::variant<Lstm<float>, Lstm<double>> lstm_;
  py::dtype dtype_;
};

void construct(py::detail::value_and_holder& place, const py::object& kernel, const py::object& bias,
               std::int64_t num_units, const py::object& w_i_diag, const py::object& w_f_diag,
               const py::object& w_o_diag, const py::object& proj_kernel, double forget_bias,
               std::optional<double> cell_clip, std::optional<double> proj_clip,
               const std::string& activation, const std::string& recurrent_activation) {
  if (num_units < 0 || num_units > kMaxSize)
    throw py::value_error("num_units must be in 0.." + std::to_string(kMaxSize) + ", got " +
                          std::to_string(num_units));
  LstmSpec spec;
  spec.num_units = num_units;
  spec.forget_bias = forget_bias;
  spec.cell_clip = cell_clip;
  spec.proj_clip = proj_clip;
  spec.activation = activation_from_name(activation);
  spec.recurrent_activation = activation_from_name(recurrent_activation);
  if (!py::isinstance<py::array>(kernel)) throw py::type_error("kernel: expected a NumPy array");
  const auto dtype = py::reinterpret_borrow<py::array>(kernel).dtype();
  if (dtype.equal(py::dtype::of<float>()))
    return construct_in<PyLstm>(
        place, make_lstm<float>(spec, kernel, bias, w_i_diag, w_f_diag, w_o_diag, proj_kernel));
  if (dtype.equal(py::dtype::of<double>()))
    return construct_in<PyLstm>(
        place, make_lstm<double>(spec, kernel, bias, w_i_diag, w_f_diag, w_o_diag, proj_kernel));
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

namespace {

// A method descriptor has checked the type of `self`; its C++ object is missing where a subclass did not make
// it.
const PyLstm& lstm_of(PyObject* self) {
  const auto* instance = reinterpret_cast<py::detail::instance*>(self);
  if (!instance->simple_layout || !instance->simple_value_holder[0])
    return py::handle(self).cast<const PyLstm&>();
  return *static_cast<const PyLstm*>(instance->simple_value_holder[0]);
}

// A tuple of this type, which is `tuple` or a named one. The constructor of a named tuple takes its parts
// apart and puts them together again.
PyObject* pair_of(PyTypeObject* type, py::object first, py::object second) {
  PyObject* const pair = type->tp_alloc(type, 2);
  if (!pair) throw py::error_already_set();
  PyTuple_SET_ITEM(pair, 0, first.release().ptr());
  PyTuple_SET_ITEM(pair, 1, second.release().ptr());
  return pair;
}

// Bound by the C-API: pybind11 takes about as long to call a function of three arrays as a small step takes.
PyObject* step(PyObject* self, PyObject* const* args, Py_ssize_t given, PyObject* keywords) {
  return translated([&] {
    PyObject* values[5] = {};
    parse("step", {"x", "c", "h", "out", "state_out"}, args, given, keywords, values, 3, 3);
    for (int k : {3, 4})
      if (values[k] == Py_None) values[k] = nullptr;
    auto [c, h] = lstm_of(self).step(values, kStepNames);
    return pair_of(&PyTuple_Type, std::move(c), std::move(h));
  });
}

PyObject* cell_step(PyObject* self, PyObject* const* args, Py_ssize_t given, PyObject* keywords) {
  return translated([&] {
    PyObject* values[4] = {};
    parse("cell_step", {"x", "state", "state_type", "out"}, args, given, keywords, values, 3);
    PyObject* const state = values[1];
    if (!PyTuple_Check(state) || PyTuple_GET_SIZE(state) != 2) throw py::type_error("state: expected (c, h)");
    if (!PyType_Check(values[2])) throw py::type_error("state_type: expected a type");
    auto* const type = reinterpret_cast<PyTypeObject*>(values[2]);
    // time.struct_time and its like are no bases of classes: they have more room than they show, which is
    // theirs
    if (!PyType_IsSubtype(type, &PyTuple_Type) || !PyType_HasFeature(type, Py_TPFLAGS_BASETYPE))
      throw py::type_error("state_type: expected a class of tuples, got " + std::string(type->tp_name));
    PyObject* arrays[5] = {values[0], PyTuple_GET_ITEM(state, 0), PyTuple_GET_ITEM(state, 1)};
    PyObject* const out = values[3] == Py_None ? nullptr : values[3];
    if (out) {
      if (!PyTuple_Check(out) || PyTuple_GET_SIZE(out) != 2) throw py::type_error("out: expected (c, h)");
      arrays[3] = PyTuple_GET_ITEM(out, 1);
      arrays[4] = PyTuple_GET_ITEM(out, 0);
    }
    for (int k = 0; k < (out ? 5 : 3); ++k)
      if (!is_plain_array(arrays[k]))
        throw py::type_error("x, state and out: expected arrays of no subclass");
    auto [c, h] = lstm_of(self).step(arrays, kCellNames);
    const py::object output = h;
    auto new_state = py::reinterpret_steal<py::object>(pair_of(type, std::move(c), std::move(h)));
    return pair_of(&PyTuple_Type, output, std::move(new_state));
  });
}

void define(py::object& type, PyMethodDef& method) {
  type.attr(method.ml_name) = py::reinterpret_steal<py::object>(
      PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(type.ptr()), &method));
}

}  // namespace

void register_lstm(py::module_& module) {
  const py::object none = py::none();
  py::class_<PyLstm> type(module, "Lstm");
  static PyMethodDef methods[] = {
      {"step", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(step)),
       METH_FASTCALL | METH_KEYWORDS,
       "step(self: Lstm, x: Array, c: Array, h: Array, *, out: Array = None, state_out: Array = None) -> "
       "tuple"},
      {"cell_step", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(cell_step)),
       METH_FASTCALL | METH_KEYWORDS,
       "cell_step(self: Lstm, x: Array, state: tuple, state_type: type, out: tuple = None) -> tuple"},
  };
  for (PyMethodDef& method : methods) define(type, method);
  type.def("__init__", &construct, py::detail::is_new_style_constructor(), py::arg("kernel"), py::arg("bias"),
           py::kw_only(), py::arg("num_units"), py::arg("w_i_diag") = none, py::arg("w_f_diag") = none,
           py::arg("w_o_diag") = none, py::arg("proj_kernel") = none, py::arg("forget_bias") = 1.0,
           py::arg("cell_clip") = none, py::arg("proj_clip") = none, py::arg("activation") = "tanh",
           py::arg("recurrent_activation") = "sigmoid")
      .def_property_readonly("input_size", [](const PyLstm& self) { return self.spec().input_size; })
      .def_property_readonly("num_units", [](const PyLstm& self) { return self.spec().num_units; })
      .def_property_readonly("output_size", [](const PyLstm& self) { return self.spec().output_size(); })
      .def_property_readonly("dtype", &PyLstm::dtype)
      .def_property_readonly("isa", &PyLstm::isa)
      .def_property_readonly("packed_bytes", &PyLstm::packed_bytes)
      .def(
          "forward",
          [](const PyLstm& self, py::object x, py::object c0, py::object h0, py::object lengths,
             bool time_major, bool reverse, py::object offsets, py::object out, py::object c_out,
             py::object threads) {
            return self.forward({std::move(x), std::move(c0), std::move(h0), std::move(lengths),
                                 std::move(offsets), std::move(out), std::move(c_out), time_major, reverse,
                                 threads});
          },
          py::arg("x"), py::arg("c0") = none, py::arg("h0") = none, py::arg("lengths") = none, py::kw_only(),
          py::arg("time_major") = false, py::arg("reverse") = false, py::arg("offsets") = none,
          py::arg("out") = none, py::arg("c_out") = none, py::arg("threads") = none)
      .def("forward_gates", &PyLstm::forward_gates, py::arg("x"), py::arg("c0"), py::arg("h0"),
           py::arg("steps"));
  using Direction = std::tuple<const PyLstm&, py::object, py::object>;  // its layer, c0, h0
  module.def(
      "forward_bidirectional",
      [none](const Direction& fw, const Direction& bw, const py::object& x, const py::object& lengths,
             bool time_major, py::object threads) {
        const auto request = [&](const Direction& direction, bool reverse) {
          return SequenceRequest{x,
                                 std::get<1>(direction),
                                 std::get<2>(direction),
                                 lengths,
                                 none,
                                 none,
                                 none,
                                 time_major,
                                 reverse,
                                 threads};
        };
        return std::get<0>(fw).forward_both(std::get<0>(bw), request(fw, false), request(bw, true));
      },
      py::arg("fw"), py::arg("bw"), py::arg("x"), py::kw_only(), py::arg("lengths") = none,
      py::arg("time_major") = false, py::arg("threads") = none);
}

}  // namespace python
}  // namespace lstmcore
