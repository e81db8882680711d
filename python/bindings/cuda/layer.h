// A layer on a GPU.
#pragma once

#include <pybind11/pybind11.h>

namespace lstmcore {
namespace python {

void register_cuda(pybind11::module_& module);

}  // namespace python
}  // namespace lstmcore
