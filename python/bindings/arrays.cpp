#include "arrays.h"

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

namespace lstmcore {
namespace python {
namespace {

std::string dtype_text(const py::dtype& dtype) { return py::str(dtype).cast<std::string>(); }

Shape shape_of(const py::array& array) { return {array.shape(), array.shape() + array.ndim()}; }

bool matches(const Shape& expected, const py::array& array) {
  if (static_cast<py::ssize_t>(expected.size()) != array.ndim()) return false;
  for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
    const py::ssize_t size = expected[static_cast<std::size_t>(axis)];
    if (size != kAnySize && size != array.shape(axis)) return false;
  }
  return true;
}

[[noreturn]] void refuse_type(const char* name, const py::dtype& dtype, const Shape& shape,
                              const std::string& got) {
  throw py::type_error(std::string(name) + ": expected a " + dtype_text(dtype) + " array of shape " +
                       shape_text(shape) + ", got " + got);
}

// Its success path runs three times a step: no text is made before there is an error.
py::array checked(const py::handle& value, const char* name, const py::dtype& dtype, const Shape& shape) {
  if (!py::isinstance<py::array>(value))
    refuse_type(name, dtype, shape, py::type::handle_of(value).attr("__name__").cast<std::string>());
  auto array = py::reinterpret_borrow<py::array>(value);
  if (!array.dtype().equal(dtype)) refuse_type(name, dtype, shape, "dtype " + dtype_text(array.dtype()));
  if (!matches(shape, array))
    throw py::value_error(std::string(name) + ": expected a " + dtype_text(dtype) + " array of shape " +
                          shape_text(shape) + ", got shape " + shape_text(shape_of(array)));
  if (!(array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_))
    throw py::value_error(std::string(name) + ": expected an aligned array");
  return array;
}

// Whether two elements may be in one place: each axis, by ascending stride, must step over all before it.
bool overlaps_itself(const py::array& array) {
  std::vector<std::pair<py::ssize_t, py::ssize_t>> axes;  // stride, size
  for (py::ssize_t axis = 0; axis < array.ndim(); ++axis)
    if (array.shape(axis) > 1) axes.emplace_back(std::abs(array.strides(axis)), array.shape(axis));
  std::sort(axes.begin(), axes.end());
  py::ssize_t reach = array.itemsize();
  for (const auto& [stride, size] : axes) {
    if (stride < reach) return true;
    reach = stride * size;
  }
  return false;
}

// The first byte that the array touches and the one past the last.
std::pair<std::intptr_t, std::intptr_t> extent(const py::array& array) {
  auto low = reinterpret_cast<std::intptr_t>(array.data());
  auto high = low + array.itemsize();
  for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
    if (array.shape(axis) == 0) return {low, low};
    const std::intptr_t reach = (array.shape(axis) - 1) * array.strides(axis);
    (reach < 0 ? low : high) += reach;
  }
  return {low, high};
}

}  // namespace

std::string shape_text(const Shape& shape) {
  std::string text = "(";
  for (std::size_t axis = 0; axis < shape.size(); ++axis)
    text += (axis ? ", " : "") + (shape[axis] == kAnySize ? std::string("any") : std::to_string(shape[axis]));
  return text + (shape.size() == 1 ? ",)" : ")");
}

py::array checked_input(const py::handle& value, const char* name, const py::dtype& dtype,
                        const Shape& shape) {
  py::array array = checked(value, name, dtype, shape);
  if (!(array.flags() & py::array::c_style))
    throw py::value_error(std::string(name) + ": expected a C-contiguous array");
  return array;
}

py::array checked_output(const py::handle& value, const char* name, const py::dtype& dtype,
                         const Shape& shape) {
  py::array array = checked(value, name, dtype, shape);
  if (!array.writeable()) throw py::value_error(std::string(name) + ": expected a writable array");
  if (array.size() == 0) return array;  // whose strides mean nothing
  const py::ssize_t inner = array.ndim() - 1;
  if (array.shape(inner) > 1 && array.strides(inner) != array.itemsize())
    throw py::value_error(std::string(name) + ": expected the last axis to be contiguous");
  if (overlaps_itself(array))
    throw py::value_error(std::string(name) + ": expected distinct elements, got strides that overlap");
  return array;
}

void check_no_overlap(const py::array& output, const char* output_name, const py::array& other,
                      const char* name) {
  const auto a = extent(output), b = extent(other);
  if (a.first < b.second && b.first < a.second)
    throw py::value_error(std::string(output_name) + " and " + name + " may not share memory");
}

}  // namespace python
}  // namespace lstmcore
