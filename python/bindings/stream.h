// The Python classes _core.Stream and _core.StreamBank: streams over _core.Lstm layers.
#pragma once

#include <pybind11/pybind11.h>

namespace lstmcore {
namespace python {

void register_stream(pybind11::module_& module);
void register_stream_bank(pybind11::module_& module);

}  // namespace python
}  // namespace lstmcore
