// The Python class _core.Lstm: one class over Lstm<float> and Lstm<double>.
#pragma once

#include <pybind11/pybind11.h>

#include <variant>

#include "lstmcore/stream.h"

namespace lstmcore {
namespace python {

void register_lstm(pybind11::module_& module);

using AnyLayers = std::variant<Layers<float>, Layers<double>>;

// The layers of a non-empty sequence of _core.Lstm of one dtype, which they keep alive; to be dropped with
// the GIL held. TypeError: no such sequence.
AnyLayers layers_of(const pybind11::object& lstms);

}  // namespace python
}  // namespace lstmcore
