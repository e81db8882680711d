#include "native_call.h"

#include <pybind11/pybind11.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

namespace lstmcore {
namespace python {
namespace {

namespace py = pybind11;

// Python's signal handlers run on the main thread, which other threads need not take the GIL to know.
bool signal_handler_raised() {
  if (syscall(SYS_gettid) != getpid()) return false;
  const PyGILState_STATE state = PyGILState_Ensure();
  const bool raised = PyErr_CheckSignals() != 0;
  PyGILState_Release(state);
  return raised;
}

// How many Python frames up the innermost one is that is not of this package: where a warning is to point.
int level_of_user() {
  int level = 1;
  try {
    py::object frame = py::module_::import("sys").attr("_getframe")();
    for (; !frame.is_none(); frame = frame.attr("f_back"), ++level) {
      const auto name =
          py::str(frame.attr("f_globals").attr("get")("__name__", "")).cast<std::string>() + ".";
      if (name.compare(0, 9, "lstmcore.") != 0) return level;
    }
  } catch (py::error_already_set&) {
  }
  return 1;
}

void warn_of_serial_calls() {
  const PyGILState_STATE state = PyGILState_Ensure();
  const int raised = PyErr_WarnEx(
      PyExc_RuntimeWarning,
      "lstmcore runs on one thread in this process: it was forked from one that had imported lstmcore, and "
      "threads do not survive a fork. Start processes by spawn or forkserver to give them threads",
      level_of_user());
  PyGILState_Release(state);
  if (raised) throw Interrupted("the warning of a forked process is an error");
}

}  // namespace

const CallHooks call_hooks = {signal_handler_raised, warn_of_serial_calls};

void rethrow(const Interrupted& interrupted) {
  if (PyErr_Occurred()) {
    py::error_already_set error;
    // errors.py: callers who take a TypeError or ValueError for a refusal of their arguments can tell.
    if (PyObject_SetAttrString(error.value().ptr(), "lstmcore_within_call", Py_True) != 0) PyErr_Clear();
    throw error;
  }
  throw std::runtime_error(interrupted.what());
}

}  // namespace python
}  // namespace lstmcore
