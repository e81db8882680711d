#include "stack.h"

#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "construct.h"
#include "lstm.h"
#include "lstmcore/stack.h"
#include "native_call.h"
#include "sequence_call.h"

namespace lstmcore {
namespace python {
namespace {

// Layers as tuples (forward, backward) of which one may be None.
template <class T>
std::vector<StackLayer<T>> stack_of(const py::sequence& layers, const Layers<T>& lstms) {
  std::vector<StackLayer<T>> stack;
  std::size_t next = 0;
  for (const py::handle& item : layers) {
    const auto pair = py::reinterpret_borrow<py::tuple>(item);
    StackLayer<T> layer;
    if (!py::handle(pair[0]).is_none()) layer.forward = lstms[next++];
    if (!py::handle(pair[1]).is_none()) layer.backward = lstms[next++];
    stack.push_back(std::move(layer));
  }
  return stack;
}

class PyStack {
 public:
  explicit PyStack(const py::sequence& layers) {
    py::list lstms;
    for (const py::handle& item : layers) {
      if (!py::isinstance<py::tuple>(item) || py::len(item) != 2)
        throw py::type_error("layers: expected pairs (forward, backward)");
      const auto pair = py::reinterpret_borrow<py::tuple>(item);
      if (py::handle(pair[0]).is_none() && py::handle(pair[1]).is_none())
        throw py::value_error("layers: expected a forward or a backward direction in each");
      for (std::size_t k = 0; k < 2; ++k)
        if (!py::handle(pair[k]).is_none()) lstms.append(pair[k]);
    }
    std::visit([&](const auto& of_type) { stack_ = stack_of(layers, of_type); }, layers_of(lstms));
  }

  py::tuple forward(const SequenceRequest& request, const py::sequence& states, bool keep_outputs) const {
    return std::visit([&](const auto& stack) { return forward_of(stack, request, states, keep_outputs); },
                      stack_);
  }

 private:
  template <class T>
  static py::tuple forward_of(const std::vector<StackLayer<T>>& stack, const SequenceRequest& request,
                              const py::sequence& states, bool keep_outputs) {
    const StackLayer<T>& last = stack.back();
    SequenceArrays<T> arrays({stack.front().input_size(), last.num_units(), last.output_size()}, request);
    const py::ssize_t N = arrays.args().batch;
    std::vector<const LstmSpec*> specs;
    for (const StackLayer<T>& layer : stack)
      for (const auto& lstm : {layer.forward, layer.backward})
        if (lstm) specs.push_back(&lstm->spec());
    if (py::len(states) != 0 && py::len(states) != specs.size())
      throw py::value_error("states: expected " + std::to_string(specs.size()) + ", got " +
                            std::to_string(py::len(states)));
    StackArgs<T> args;
    std::vector<py::array> kept;  // what `args` points to
    py::list results;
    for (std::size_t k = 0; k < specs.size(); ++k) {
      StackState<T> state;
      if (py::len(states) != 0) {
        const auto pair = py::reinterpret_borrow<py::tuple>(states[k]);
        kept.push_back(checked_input(pair[0], "c0", arrays.dtype(), {N, specs[k]->num_units}));
        state.c0 = data<T>(kept.back());
        kept.push_back(checked_input(pair[1], "h0", arrays.dtype(), {N, specs[k]->output_size()}));
        state.h0 = data<T>(kept.back());
      }
      py::array c = new_matrix(arrays.dtype(), N, specs[k]->num_units);
      py::array h = new_matrix(arrays.dtype(), N, specs[k]->output_size());
      state.c_n = mutable_data<T>(c);
      state.h_n = mutable_data<T>(h);
      args.states.push_back(state);
      results.append(py::make_tuple(std::move(c), std::move(h)));
    }
    arrays.take_outputs(request, keep_outputs);
    for (const py::array& array : kept) arrays.check_outputs_apart(array, "states");
    native_call([&](Interruption* interruption) {
      args.call = arrays.args(interruption);
      forward_stack(stack, args);
    });
    return py::make_tuple(keep_outputs ? py::object(arrays.y()) : py::none(), results);
  }

  std::variant<std::vector<StackLayer<float>>, std::vector<StackLayer<double>>> stack_;
};

}  // namespace

void register_stack(py::module_& module) {
  const py::object none = py::none();
  py::class_<PyStack>(module, "Stack")
      .def("__init__", &construct_in<PyStack, const py::sequence&>, py::detail::is_new_style_constructor(),
           py::arg("layers"))
      .def(
          "forward",
          [none](const PyStack& self, py::object x, const py::sequence& states, py::object lengths,
                 py::object offsets, bool time_major, py::object out, py::object c_out, bool keep_outputs,
                 py::object threads) {
            return self.forward({std::move(x), none, none, std::move(lengths), std::move(offsets),
                                 std::move(out), std::move(c_out), time_major, false, threads},
                                states, keep_outputs);
          },
          py::arg("x"), py::arg("states") = py::tuple(), py::kw_only(), py::arg("lengths") = none,
          py::arg("offsets") = none, py::arg("time_major") = false, py::arg("out") = none,
          py::arg("c_out") = none, py::arg("keep_outputs") = true, py::arg("threads") = none);
}

}  // namespace python
}  // namespace lstmcore
