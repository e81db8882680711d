// Copies between arrays on a GPU, sums of them, and copies of small ones to the host.
#pragma once

#include <pybind11/pybind11.h>

namespace lstmcore {
namespace python {

void register_copies(pybind11::module_& module);

}  // namespace python
}  // namespace lstmcore
