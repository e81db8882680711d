#include "lstmcore/stream.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <variant>

#include "dense.h"
#include "fastcall.h"
#include "in_use.h"
#include "lstm.h"
#include "lstmcore/runtime.h"
#include "native_call.h"
#include "stream.h"

// A type of its own by the C-API rather than by pybind11: a step of a small cell takes a few hundred
// nanoseconds, about what pybind11's dispatch of a call costs.
namespace lstmcore {
namespace python {
namespace {

using AnyStream = std::variant<Stream<float>, Stream<double>>;

struct State {
  AnyStream stream;
  py::dtype dtype;
  Shape x_shape, out_shape;            // of one step
  std::atomic<std::int64_t> steps{0};  // may be read while a step is under way
  std::atomic_flag in_use = ATOMIC_FLAG_INIT;

  State(AnyStream&& s, bool batched) : stream(std::move(s)) {
    std::visit([&](const auto& of_type) { describe(of_type, batched); }, stream);
  }
  State(const State& other)
      : stream(other.stream),
        dtype(other.dtype),
        x_shape(other.x_shape),
        out_shape(other.out_shape),
        steps(other.steps.load()) {}

 private:
  template <class T>
  void describe(const Stream<T>& of_type, bool batched) {
    dtype = py::dtype::of<T>();
    if (batched) x_shape = out_shape = {of_type.rows()};
    x_shape.push_back(of_type.input_size());
    out_shape.push_back(of_type.output_size());
  }
};

struct StreamObject {
  PyObject_HEAD State* state;
};

State& state_of(PyObject* self) { return *reinterpret_cast<StreamObject*>(self)->state; }

class StreamInUse : public InUse {
 public:
  explicit StreamInUse(State& state)
      : InUse(state.in_use, "this stream is being stepped by another thread; give each thread a fork()") {}
};

// The `threads` argument of one call: only lowers what holds for this thread. Null or None: not given.
class CallThreads {
 public:
  explicit CallThreads(PyObject* threads) {
    if (!threads || threads == Py_None) return;
    const int limit = std::min(checked_threads(threads), num_threads());
    before_ = exchange_num_threads_of_this_thread(limit);
  }
  ~CallThreads() {
    if (before_ >= 0) exchange_num_threads_of_this_thread(before_);
  }
  CallThreads(const CallThreads&) = delete;
  CallThreads& operator=(const CallThreads&) = delete;

 private:
  int before_ = -1;
};

PyObject* none() { return py::none().release().ptr(); }

void run_step(State& state, const void* x, void* out) {
  const StreamInUse in_use(state);
  native_call([&](Interruption* interruption) {
    if (auto* stream = std::get_if<Stream<float>>(&state.stream))
      stream->step(static_cast<const float*>(x), static_cast<float*>(out), interruption);
    else
      std::get<Stream<double>>(state.stream)
          .step(static_cast<const double*>(x), static_cast<double*>(out), interruption);
  });
  ++state.steps;
}

PyObject* step(PyObject* self, PyObject* const* args, Py_ssize_t given, PyObject* keywords) {
  return translated([&] {
    PyObject* values[2] = {};
    parse("step", {"x", "threads"}, args, given, keywords, values, 1, 1);
    State& state = state_of(self);
    const CallThreads threads(values[1]);
    const py::array x = dense_input(values[0], "x", state.dtype, state.x_shape);
    py::array out = new_array(state.dtype, state.out_shape);
    run_step(state, x.data(), out.mutable_data());
    return out.release().ptr();
  });
}

PyObject* step_into(PyObject* self, PyObject* const* args, Py_ssize_t given, PyObject* keywords) {
  return translated([&] {
    PyObject* values[3] = {};
    parse("step_into", {"x", "out", "threads"}, args, given, keywords, values, 2, 2);
    State& state = state_of(self);
    const CallThreads threads(values[2]);
    const py::array x = is_dense(values[0], state.dtype, state.x_shape)
                            ? py::reinterpret_borrow<py::array>(values[0])
                            : checked_input(values[0], "x", state.dtype, state.x_shape);
    py::array out = dense_output(values[1], "out", state.dtype, state.out_shape);
    check_no_overlap(out, "out", x, "x");
    run_step(state, x.data(), out.mutable_data());
    return none();
  });
}

template <class T>
py::array push_to(State& state, Stream<T>& stream, PyObject* chunk) {
  Shape shape = state.x_shape;
  shape.insert(shape.begin(), kAnySize);
  const py::array x = dense_input(chunk, "chunk", state.dtype, shape);
  shape = state.out_shape;
  shape.insert(shape.begin(), x.shape(0));
  py::array out = new_array(state.dtype, shape);
  T* const to = mutable_data<T>(out);
  const std::int64_t steps = x.shape(0), N = stream.rows(), I = stream.input_size(), P = stream.output_size();
  const StreamInUse in_use(state);
  native_call([&](Interruption* interruption) {
    stream.push(steps, {data<T>(x), N * I, I}, {to, N * P, P}, interruption);
  });
  state.steps += steps;
  return out;
}

PyObject* push(PyObject* self, PyObject* const* args, Py_ssize_t given, PyObject* keywords) {
  return translated([&] {
    PyObject* values[2] = {};
    parse("push", {"chunk", "threads"}, args, given, keywords, values, 1, 1);
    State& state = state_of(self);
    const CallThreads threads(values[1]);
    return std::visit([&](auto& stream) { return push_to(state, stream, values[0]).release().ptr(); },
                      state.stream);
  });
}

template <class T>
py::array read_from(const Stream<T>& stream) {
  py::array values(py::dtype::of<T>(), Shape{stream.rows(), stream.state_size()});
  T* const to = mutable_data<T>(values);
  for (std::int64_t n = 0; n < stream.rows(); ++n) stream.read_state(n, to + n * stream.state_size());
  return values;
}

PyObject* read_state(PyObject* self, PyObject*) {
  return translated([&] {
    State& state = state_of(self);
    const StreamInUse in_use(state);
    return std::visit([](const auto& stream) { return read_from(stream).release().ptr(); }, state.stream);
  });
}

template <class T>
void write_to(Stream<T>& stream, const py::array& values) {
  for (std::int64_t n = 0; n < stream.rows(); ++n)
    stream.write_state(n, data<T>(values) + n * stream.state_size());
}

PyObject* write_state(PyObject* self, PyObject* args) {
  return translated([&]() -> PyObject* {
    PyObject* given = nullptr;
    long long steps = 0;
    if (!PyArg_ParseTuple(args, "OL:_write_state", &given, &steps)) return nullptr;
    State& state = state_of(self);
    const auto shape = std::visit(
        [](const auto& stream) { return Shape{stream.rows(), stream.state_size()}; }, state.stream);
    const py::array values = checked_input(given, "values", state.dtype, shape);
    const StreamInUse in_use(state);
    std::visit([&](auto& stream) { write_to(stream, values); }, state.stream);
    state.steps = steps;
    return none();
  });
}

PyObject* trim(PyObject* self, PyObject*) {
  return translated([&] {
    State& state = state_of(self);
    const StreamInUse in_use(state);
    return PyLong_FromSize_t(std::visit([](auto& stream) { return stream.trim(); }, state.stream));
  });
}

PyObject* wrapped(PyTypeObject* type, std::unique_ptr<State> state) {
  PyObject* self = type->tp_alloc(type, 0);
  if (self) reinterpret_cast<StreamObject*>(self)->state = state.release();
  return self;
}

PyObject* copy(PyObject* self, PyObject*) {
  return translated([&] {
    State& state = state_of(self);
    const StreamInUse in_use(state);
    return wrapped(Py_TYPE(self), std::make_unique<State>(state));
  });
}

PyObject* construct(PyTypeObject* type, PyObject* args, PyObject* keywords) {
  return translated([&]() -> PyObject* {
    static const char* names[] = {"layers", "rows", "batched", nullptr};
    PyObject* lstms = nullptr;
    long long rows = 0;
    int batched = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OLp:Stream", const_cast<char**>(names), &lstms, &rows,
                                     &batched))
      return nullptr;
    AnyLayers layers = layers_of(py::reinterpret_borrow<py::object>(lstms));
    const auto make = [&](auto& of_type) -> AnyStream { return Stream(std::move(of_type), rows); };
    return wrapped(type, std::make_unique<State>(std::visit(make, layers), batched != 0));
  });
}

void destroy(PyObject* self) {
  PyTypeObject* const type = Py_TYPE(self);
  delete reinterpret_cast<StreamObject*>(self)->state;
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* get_steps(PyObject* self, void*) { return PyLong_FromLongLong(state_of(self).steps); }

template <class Function>
PyCFunction as_method(Function* function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef methods[] = {
    {"step", as_method(step), METH_FASTCALL | METH_KEYWORDS,
     "step($self, x, *, threads=None)\n--\n\n"
     "One time step: x [I] or [N, I] -> a new array [P] or [N, P].\n\n"
     "The call uses at most ``threads`` threads; None: as many as the work is worth.\n\n"
     "Raises TypeError for another dtype or no array, ValueError for another shape, RuntimeError where\n"
     "another thread is using the stream. The state is unchanged then, as where Ctrl-C ends the call."},
    {"step_into", as_method(step_into), METH_FASTCALL | METH_KEYWORDS,
     "step_into($self, x, out, *, threads=None)\n--\n\n"
     "One time step into the array out [P] or [N, P]; allocates nothing.\n\n"
     "Both arrays are C-contiguous, and may not overlap. Raises as step, and ValueError for another layout,\n"
     "an out that is read-only, and arrays that overlap. The state and out are unchanged then."},
    {"push", as_method(push), METH_FASTCALL | METH_KEYWORDS,
     "push($self, chunk, *, threads=None)\n--\n\n"
     "T time steps at once: chunk [T, I] or [T, N, I] -> a new array [T, P] or [T, N, P].\n\n"
     "Time comes first: push(chunk)[t] is what step(chunk[t]) would have returned. Raises as step."},
    {"trim", trim, METH_NOARGS,
     "trim($self)\n--\n\n"
     "Gives back the scratch memory of step and push; returns the number of bytes.\n\n"
     "The state stays; the next call allocates again. Raises RuntimeError where another thread is using\n"
     "the stream."},
    {"_read_state", read_state, METH_NOARGS,
     "A new array [N, S]: c and h of each layer, one after the other."},
    {"_write_state", write_state, METH_VARARGS, "Takes such an array and the number of steps."},
    {"_copy", copy, METH_NOARGS, "A stream of this type with the same layers and a state of its own."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef properties[] = {
    {"steps", get_steps, nullptr, "Number of time steps since the start or the last reset.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot slots[] = {{Py_tp_new, reinterpret_cast<void*>(construct)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(destroy)},
                       {Py_tp_methods, methods},
                       {Py_tp_getset, properties},
                       {0, nullptr}};

PyType_Spec spec = {"lstmcore._core.Stream", sizeof(StreamObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};

}  // namespace

void register_stream(py::module_& module) {
  const auto type = py::reinterpret_steal<py::object>(PyType_FromModuleAndSpec(module.ptr(), &spec, nullptr));
  if (!type) throw py::error_already_set();
  module.attr("Stream") = type;
}

}  // namespace python
}  // namespace lstmcore
