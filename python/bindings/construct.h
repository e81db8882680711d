// Constructors of pybind11's classes that survive a lack of memory.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <utility>

namespace lstmcore {
namespace python {

// For `def("__init__", ..., pybind11::detail::is_new_style_constructor())`. pybind11's own `init` registers
// the new object where no handler is: were there no memory for its note of it, the process would end.
template <class Class, class... Args>
void construct_in(pybind11::detail::value_and_holder& place, Args&&... args) {
  auto object = std::make_unique<Class>(std::forward<Args>(args)...);
  place.value_ptr() = object.get();
  try {
    place.type->init_instance(place.inst, nullptr);  // the place owns the object from here on
  } catch (...) {
    place.value_ptr() = nullptr;
    throw;
  }
  object.release();
}

// Where an object of `type` is used whose constructor was not called, `type.__new__(type)`, TypeError comes;
// pybind11 would take memory for it, and leave what is in there to chance.
inline void refuse_unmade(const pybind11::handle& type) {
  pybind11::detail::get_type_info(reinterpret_cast<PyTypeObject*>(type.ptr()))->operator_new =
      [](std::size_t) -> void* {
    throw pybind11::type_error("an object was used whose constructor was not called");
  };
}

}  // namespace python
}  // namespace lstmcore
