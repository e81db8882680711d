// Functions of the C-API's vectorcall convention: arguments, and C++ exceptions as Python's.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <new>
#include <stdexcept>
#include <string>

#include "lstmcore/runtime.h"

namespace lstmcore {
namespace python {

namespace py = pybind11;

// What `call` returns, or null with Python's error set.
template <class Call>
PyObject* translated(const Call& call) {
  try {
    return call();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::length_error& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

// A number of threads. TypeError, ValueError: no such number; the message names `threads`.
inline int checked_threads(PyObject* threads) {
  const auto index =
      py::reinterpret_steal<py::object>(PyBool_Check(threads) ? nullptr : PyNumber_Index(threads));
  if (!index) {
    PyErr_Clear();
    const std::string type = Py_TYPE(threads)->tp_name;
    throw py::type_error("threads must be an integer, got " + py::repr(threads).cast<std::string>() +
                         " of type " + type);
  }
  int overflow = 0;
  const long number = PyLong_AsLongAndOverflow(index.ptr(), &overflow);
  if (overflow || number < 1 || number > kMaxThreads)
    throw py::value_error("threads must be in 1.." + std::to_string(kMaxThreads) + ", got " +
                          (overflow ? "a number of many digits" : std::to_string(number)));
  return static_cast<int>(number);
}

// Arguments by position or by these names; the first `required` are not optional, values of the others stay
// null. Only the first `positional` may be given by position.
template <std::size_t Count>
void parse(const char* function, const char* const (&names)[Count], PyObject* const* args, Py_ssize_t given,
           PyObject* keywords, PyObject* (&values)[Count], std::size_t required = Count,
           std::size_t positional = Count) {
  const auto refuse = [function](const std::string& what) {
    throw py::type_error(std::string(function) + "() " + what);
  };
  if (given > static_cast<Py_ssize_t>(positional))
    refuse("takes " + std::to_string(positional) + " positional argument(s), got " + std::to_string(given));
  std::copy_n(args, given, values);
  const Py_ssize_t named = keywords ? PyTuple_GET_SIZE(keywords) : 0;
  for (Py_ssize_t k = 0; k < named; ++k) {
    PyObject* const name = PyTuple_GET_ITEM(keywords, k);
    const auto* const found = std::find_if(names, names + Count, [name](const char* expected) {
      return PyUnicode_CompareWithASCIIString(name, expected) == 0;
    });
    const std::string text = "'" + py::str(py::handle(name)).cast<std::string>() + "'";
    if (found == names + Count) refuse("got an unexpected keyword argument " + text);
    if (values[found - names]) refuse("got multiple values for argument " + text);
    values[found - names] = args[given + k];
  }
  for (std::size_t k = 0; k < required; ++k)
    if (!values[k]) refuse(std::string("is missing its argument '") + names[k] + "'");
}

}  // namespace python
}  // namespace lstmcore
