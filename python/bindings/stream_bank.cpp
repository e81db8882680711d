#include "lstmcore/stream_bank.h"

#include <pybind11/stl.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "construct.h"
#include "dense.h"
#include "in_use.h"
#include "lstm.h"
#include "native_call.h"
#include "stream.h"

namespace lstmcore {
namespace python {
namespace {

using AnyBank = std::variant<StreamBank<float>, StreamBank<double>>;

AnyBank make_bank(const py::object& lstms, std::int64_t capacity) {
  AnyLayers layers = layers_of(lstms);
  return std::visit([&](auto& of_type) -> AnyBank { return StreamBank(std::move(of_type), capacity); },
                    layers);
}

class PyStreamBank {
  // Of the bank, for this thread alone; an id that it does not have is a ValueError.
  template <class Call>
  auto visit(const Call& call) {
    const InUse in_use(in_use_, "this bank of streams is being used by another thread");
    try {
      return std::visit(call, bank_);
    } catch (const std::out_of_range& error) {
      throw py::value_error(error.what());
    }
  }

 public:
  PyStreamBank(const py::object& lstms, std::int64_t capacity) : bank_(make_bank(lstms, capacity)) {}

  std::int64_t join(const py::object& state) {
    return visit([&](auto& bank) { return join_to(bank, state); });
  }
  void leave(std::int64_t id) {
    visit([&](auto& bank) { bank.leave(id); });
  }
  std::vector<std::int64_t> ids() {
    return visit([](auto& bank) {
      std::vector<std::int64_t> ids(static_cast<std::size_t>(bank.size()));
      for (std::size_t k = 0; k < ids.size(); ++k) ids[k] = bank.id(static_cast<std::int64_t>(k));
      return ids;
    });
  }
  py::array state(std::int64_t id) {
    return visit([&](auto& bank) { return state_in(bank, id); });
  }
  void set_state(std::int64_t id, const py::object& state) {
    visit([&](auto& bank) { bank.set_state(id, checked_state(bank, state).first); });
  }
  py::array step(const py::object& x, const py::object& ids) {
    return visit([&](auto& bank) { return step_of(bank, x, py::none(), ids); });
  }
  void step_into(const py::object& x, const py::object& out, const py::object& ids) {
    if (out.is_none()) throw py::type_error("out: expected a NumPy array, got None");
    visit([&](auto& bank) { step_of(bank, x, out, ids); });
  }
  std::size_t trim() {
    return visit([](auto& bank) { return bank.trim(); });
  }

 private:
  template <class T>
  static std::pair<const T*, py::array> checked_state(const StreamBank<T>& bank, const py::object& state) {
    py::array array = checked_input(state, "state", py::dtype::of<T>(), {bank.state_size()});
    const T* const values = data<T>(array);
    return {values, std::move(array)};
  }

  template <class T>
  static std::int64_t join_to(StreamBank<T>& bank, const py::object& state) {
    return state.is_none() ? bank.join() : bank.join(checked_state(bank, state).first);
  }

  template <class T>
  static py::array state_in(const StreamBank<T>& bank, std::int64_t id) {
    return py::array(py::dtype::of<T>(), Shape{bank.state_size()}, bank.state(id));
  }

  // Into `out_`, or where that is None into a new array; returns the array.
  template <class T>
  py::array step_of(StreamBank<T>& bank, const py::object& x_, const py::object& out_,
                    const py::object& ids_) {
    const auto dtype = py::dtype::of<T>();
    const bool all = ids_.is_none();
    if (!all) {
      const py::array ids = checked_input(ids_, "ids", py::dtype::of<std::int64_t>(), ids_shape_);
      ids_copy_.assign(data<std::int64_t>(ids), data<std::int64_t>(ids) + ids.shape(0));
    }
    const std::int64_t n = all ? bank.size() : static_cast<std::int64_t>(ids_copy_.size());
    const std::int64_t I = bank.input_size(), P = bank.output_size();
    const bool into = !out_.is_none();
    const py::array x =
        into ? matrix_input(x_.ptr(), "x", dtype, n, I) : dense_input(x_.ptr(), "x", dtype, {n, I});
    py::array out = into ? matrix_output(out_.ptr(), "out", dtype, n, P) : new_matrix(dtype, n, P);
    if (into) check_no_overlap(out, "out", x, "x");
    T* const to = mutable_data<T>(out);
    native_call([&](Interruption* interruption) {
      if (all)
        bank.step_all(data<T>(x), to, interruption);
      else
        bank.step(n, ids_copy_.data(), data<T>(x), to, interruption);
    });
    return out;
  }

  AnyBank bank_;
  const Shape ids_shape_ = {kAnySize};
  // Of the call under way: another thread may change the array once the GIL is released.
  std::vector<std::int64_t> ids_copy_;
  std::atomic_flag in_use_ = ATOMIC_FLAG_INIT;
};

}  // namespace

void register_stream_bank(py::module_& module) {
  const py::object none = py::none();
  py::class_<PyStreamBank>(module, "StreamBank")
      .def("__init__", &construct_in<PyStreamBank, const py::object&, const std::int64_t&>,
           py::detail::is_new_style_constructor(), py::arg("layers"), py::arg("capacity") = 0)
      .def("join", &PyStreamBank::join, py::arg("state") = none)
      .def("leave", &PyStreamBank::leave, py::arg("id"))
      .def("ids", &PyStreamBank::ids)
      .def("state", &PyStreamBank::state, py::arg("id"))
      .def("set_state", &PyStreamBank::set_state, py::arg("id"), py::arg("state"))
      .def("step", &PyStreamBank::step, py::arg("x"), py::arg("ids") = none)
      .def("step_into", &PyStreamBank::step_into, py::arg("x"), py::arg("out"), py::arg("ids") = none)
      .def("trim", &PyStreamBank::trim);
}

}  // namespace python
}  // namespace lstmcore
