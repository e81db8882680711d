// Calls of the core without the GIL, which a signal handler that raises can end.
#pragma once

#include "in_use.h"
#include "lstmcore/interruption.h"

namespace lstmcore {
namespace python {

extern const CallHooks call_hooks;

// Throws the exception that ended a call, with the GIL held.
[[noreturn]] void rethrow(const Interrupted& interrupted);

// call(Interruption*), without the GIL. Throws py::error_already_set where a signal handler raised or the
// warning of a forked child is an error.
template <class Call>
void native_call(const Call& call) {
  Interruption interruption(call_hooks);
  try {
    const WithoutGil without_gil;
    call(&interruption);
  } catch (const Interrupted& interrupted) {
    rethrow(interrupted);
  }
}

}  // namespace python
}  // namespace lstmcore
