// forward_stack over arrays.
#pragma once

#include <pybind11/pybind11.h>

namespace lstmcore {
namespace python {

void register_stack(pybind11::module_& module);

}  // namespace python
}  // namespace lstmcore
