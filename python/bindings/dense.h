// Dense arrays in calls that take less than a microsecond: the usual array is recognised by a few
// comparisons, any other goes through the checks of arrays.h, which convert nothing and say what is wrong.
#pragma once

#include "arrays.h"

namespace lstmcore {
namespace python {

// A NumPy array and no subclass of one, which may mean something else by its values.
inline bool is_plain_array(PyObject* value) {
  return Py_TYPE(value) == py::detail::npy_api::get().PyArray_Type_;
}

// A C-contiguous, aligned array of just this dtype object and shape.
inline bool is_dense(PyObject* value, const py::dtype& dtype, const Shape& shape) {
  constexpr int kFlags =
      py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if (!py::detail::npy_api::get().PyArray_Check_(value)) return false;
  const auto* array = py::detail::array_proxy(value);
  if (array->descr != dtype.ptr() || array->nd != static_cast<int>(shape.size())) return false;
  for (std::size_t axis = 0; axis < shape.size(); ++axis)
    if (shape[axis] != kAnySize && shape[axis] != array->dimensions[axis]) return false;
  return (array->flags & kFlags) == kFlags;
}

// The same for a matrix; kAnySize rows: any number.
inline bool is_dense_matrix(PyObject* value, const py::dtype& dtype, py::ssize_t rows, py::ssize_t width) {
  constexpr int kFlags =
      py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if (!py::detail::npy_api::get().PyArray_Check_(value)) return false;
  const auto* array = py::detail::array_proxy(value);
  return array->descr == dtype.ptr() && array->nd == 2 &&
         (rows == kAnySize || array->dimensions[0] == rows) && array->dimensions[1] == width &&
         (array->flags & kFlags) == kFlags;
}

// As checked_input for a matrix; an array like most, is_dense_matrix, takes no memory.
py::array matrix_input(PyObject* value, const char* name, const py::dtype& dtype, py::ssize_t rows,
                       py::ssize_t width);
// The same, and writable.
py::array matrix_output(PyObject* value, const char* name, const py::dtype& dtype, py::ssize_t rows,
                        py::ssize_t width);

// As checked_input, but an array of another layout is copied.
py::array dense_input(PyObject* value, const char* name, const py::dtype& dtype, const Shape& shape);

// As checked_input, and writable.
py::array dense_output(PyObject* value, const char* name, const py::dtype& dtype, const Shape& shape);

py::array new_array(const py::dtype& dtype, const Shape& shape);
py::array new_matrix(const py::dtype& dtype, py::ssize_t rows, py::ssize_t width);

}  // namespace python
}  // namespace lstmcore
