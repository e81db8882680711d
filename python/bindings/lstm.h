// The Python class _core.Lstm: one class over Lstm<float> and Lstm<double>.
#pragma once

#include <pybind11/pybind11.h>

namespace lstmcore {
namespace python {

void register_lstm(pybind11::module_& module);

}  // namespace python
}  // namespace lstmcore
