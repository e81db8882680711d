#include "dense.h"

namespace lstmcore {
namespace python {

using py::detail::npy_api;

py::array dense_input(PyObject* value, const char* name, const py::dtype& dtype, const Shape& shape) {
  if (is_dense(value, dtype, shape)) return py::reinterpret_borrow<py::array>(value);
  auto given = py::reinterpret_borrow<py::object>(value);
  constexpr int kLayout = npy_api::NPY_ARRAY_C_CONTIGUOUS_ | npy_api::NPY_ARRAY_ALIGNED_;
  if (py::isinstance<py::array>(given) && !py::detail::check_flags(value, kLayout)) {
    given = py::reinterpret_steal<py::object>(
        npy_api::get().PyArray_FromAny_(value, nullptr, 0, 0, kLayout, nullptr));
    if (!given) throw py::error_already_set();
  }
  return checked_input(given, name, dtype, shape);
}

py::array dense_output(PyObject* value, const char* name, const py::dtype& dtype, const Shape& shape) {
  if (is_dense(value, dtype, shape) && py::detail::check_flags(value, npy_api::NPY_ARRAY_WRITEABLE_))
    return py::reinterpret_borrow<py::array>(value);
  checked_input(value, name, dtype, shape);
  return checked_output(value, name, dtype, shape);
}

py::array matrix_input(PyObject* value, const char* name, const py::dtype& dtype, py::ssize_t rows,
                       py::ssize_t width) {
  if (is_dense_matrix(value, dtype, rows, width)) return py::reinterpret_borrow<py::array>(value);
  return checked_input(value, name, dtype, {rows, width});
}

py::array matrix_output(PyObject* value, const char* name, const py::dtype& dtype, py::ssize_t rows,
                        py::ssize_t width) {
  if (is_dense_matrix(value, dtype, rows, width) &&
      py::detail::check_flags(value, npy_api::NPY_ARRAY_WRITEABLE_))
    return py::reinterpret_borrow<py::array>(value);
  return dense_output(value, name, dtype, {rows, width});
}

namespace {

py::array new_array(const py::dtype& dtype, int ndim, const py::ssize_t* shape) {
  const auto& api = npy_api::get();
  PyObject* array = api.PyArray_NewFromDescr_(api.PyArray_Type_, dtype.inc_ref().ptr(), ndim, shape, nullptr,
                                              nullptr, 0, nullptr);
  if (!array) throw py::error_already_set();
  return py::reinterpret_steal<py::array>(array);
}

}  // namespace

py::array new_array(const py::dtype& dtype, const Shape& shape) {
  return new_array(dtype, static_cast<int>(shape.size()), shape.data());
}

py::array new_matrix(const py::dtype& dtype, py::ssize_t rows, py::ssize_t width) {
  const py::ssize_t shape[] = {rows, width};
  return new_array(dtype, 2, shape);
}

}  // namespace python
}  // namespace lstmcore
