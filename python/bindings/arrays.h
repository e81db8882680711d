// Checks of NumPy arrays at the boundary: exact dtype and shape, no hidden copies, and errors that name the
// argument.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

namespace lstmcore {
namespace python {

namespace py = pybind11;
using Shape = std::vector<py::ssize_t>;

constexpr py::ssize_t kAnySize = -1;

std::string shape_text(const Shape& shape);

// A C-contiguous, aligned array of `dtype` in native byte order with this shape, in which kAnySize matches
// anything. TypeError: no array, or another dtype. ValueError: another shape or layout.
py::array checked_input(const py::handle& value, const char* name, const py::dtype& dtype,
                        const Shape& shape);

// A writable array to store results in; its innermost axis is dense, the others may have any strides.
py::array checked_output(const py::handle& value, const char* name, const py::dtype& dtype,
                         const Shape& shape);

// ValueError when the two arrays may share memory.
void check_no_overlap(const py::array& output, const char* output_name, const py::array& other,
                      const char* name);

template <class T>
const T* data(const py::array& array) {
  return static_cast<const T*>(array.data());
}

template <class T>
T* mutable_data(py::array& array) {
  return static_cast<T*>(array.mutable_data());
}

}  // namespace python
}  // namespace lstmcore
