// The private extension module lstmcore._core.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>

#include "arrays.h"
#include "construct.h"
#include "cpu/denormals.h"
#include "cpu/isa.h"
#include "cpu_name.h"
#include "crc32c.h"
#include "cuda/layer.h"
#include "fastcall.h"
#include "in_use.h"
#include "lstm.h"
#include "lstmcore/runtime.h"
#include "lstmcore/version.h"
#include "stack.h"
#include "stream.h"

namespace lstmcore {
namespace python {
namespace {

template <class T>
py::array activate(const std::string& name, const py::array& x) {
  const Activation activation = activation_from_name(name);
  py::array y(x.dtype(), Shape(x.shape(), x.shape() + x.ndim()));
  const T* const from = data<T>(x);
  T* const to = mutable_data<T>(y);
  const py::ssize_t size = x.size();
  const auto& kernels = cpu::kernels_of<T>(cpu::kernels_named(current_isa()));
  const WithoutGil without_gil;
  const cpu::FlushDenormals flush;
  kernels.activate(activation, from, to, size);
  return y;
}

py::array activate_any(const std::string& name, const py::array& x) {
  const Shape shape(x.shape(), x.shape() + x.ndim());
  if (x.dtype().equal(py::dtype::of<double>()))
    return activate<double>(name, checked_input(x, "x", py::dtype::of<double>(), shape));
  return activate<float>(name, checked_input(x, "x", py::dtype::of<float>(), shape));
}

std::uint32_t crc32c_of(const py::buffer& buffer, std::uint32_t crc) {
  Py_buffer view;
  if (PyObject_GetBuffer(buffer.ptr(), &view, PyBUF_C_CONTIGUOUS) != 0) throw py::error_already_set();
  {
    const WithoutGil without_gil;
    crc = crc32c(crc, view.buf, static_cast<std::size_t>(view.len));
  }
  PyBuffer_Release(&view);
  return crc;
}

py::dict info() {
  py::dict info;
  info["version"] = LSTMCORE_VERSION;
  info["compiler"] = LSTMCORE_COMPILER;
  info["isa_baseline"] = LSTMCORE_BASELINE;
  info["isa_compiled"] = compiled_isas();
  info["isa_found"] = supported_isas();
  try {
    info["isa"] = current_isa();
  } catch (const std::runtime_error& error) {  // LSTMCORE_FORCE_ISA is off: a report must still be had
    info["isa"] = py::none();
    info["isa_error"] = error.what();
  }
  const char* forced = std::getenv("LSTMCORE_FORCE_ISA");
  info["isa_forced"] = forced != nullptr && *forced != '\0';
  info["cpu"] = cpu_name();
  info["threads"] = num_threads();
  info["threads_reason"] = num_threads_reason();
  info["workspace_bytes"] = workspace_bytes();
  return info;
}

}  // namespace
}  // namespace python
}  // namespace lstmcore

// For threadpoolctl, which finds them by name in the loaded library.
extern "C" {
__attribute__((visibility("default"))) int lstmcore_get_num_threads() {
  return lstmcore::num_threads_of_process();
}
__attribute__((visibility("default"))) void lstmcore_set_num_threads(int threads) {
  lstmcore::set_num_threads(std::clamp(threads, 1, lstmcore::kMaxThreads));
}
}

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  using namespace lstmcore;
  module.attr("__version__") = LSTMCORE_VERSION;
  python::register_lstm(module);
  python::register_stack(module);
  python::register_stream(module);
  python::register_stream_bank(module);
  python::register_cuda(module);
  for (const char* name :
       {"Lstm", "Stack", "StreamBank", "DeviceArray", "CudaLibrary", "CudaContext", "CudaLayer"})
    python::refuse_unmade(module.attr(name));
  module.def("fused_activations", &activation_names);
  module.def("activate", &python::activate_any, pybind11::arg("name"), pybind11::arg("x"));
  module.def("crc32c", &python::crc32c_of, pybind11::arg("buffer"), pybind11::arg("crc") = 0);
  module.def("info", &python::info);
  module.def(
      "checked_threads",
      [](const pybind11::object& threads) { return python::checked_threads(threads.ptr()); },
      pybind11::arg("threads"));
  module.def("set_num_threads", &set_num_threads, pybind11::arg("threads"));
  module.def("num_threads_of_this_thread", &num_threads_of_this_thread);
  module.def("exchange_num_threads_of_this_thread", &exchange_num_threads_of_this_thread,
             pybind11::arg("threads"));
  module.def("num_threads_reason", &num_threads_reason,
             "Which of the limits decided what ``get_num_threads`` says, in words.");
  module.def("workspace_bytes", &workspace_bytes,
             "Bytes of scratch memory that the process holds.\n\n"
             "What it keeps for the calls to come (for each thread as much as its largest call needed, up\n"
             "to 16 MiB), and what streams and banks keep for theirs. Weights, states and arrays are not in\n"
             "it.");
  module.def("trim", &trim, pybind11::call_guard<python::WithoutGil>(),
             "Gives back the scratch memory that no call is using; returns the number of bytes.\n\n"
             "Safe at any time, also while other threads compute. That of streams stays: see Stream.trim.");
  module.def("get_num_threads", &num_threads,
             "The most threads that a call of this thread may use.\n\n"
             "By default the least of CPU affinity, cgroup quota, OMP_NUM_THREADS and LSTMCORE_NUM_THREADS;\n"
             "1 in a forked child.");
}
