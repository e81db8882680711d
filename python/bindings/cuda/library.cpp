#include "library.h"

#include <dlfcn.h>

#include <new>

namespace lstmcore {
namespace python {

CudaLibrary::CudaLibrary(const std::string& file) {
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    throw std::runtime_error(std::string("lstmcore's CUDA library cannot be loaded: ") + dlerror());
  const auto get = reinterpret_cast<decltype(&lstmcore_cuda_api)>(dlsym(library, "lstmcore_cuda_api"));
  api_ = get ? static_cast<const lstmcore_cuda_api_v1*>(get(LSTMCORE_CUDA_ABI)) : nullptr;
  if (!api_) throw std::runtime_error(file + " is of another version of lstmcore");
  keeper_ = std::make_unique<Keeper>(*api_);
}

void CudaLibrary::raise(int status, const char* error) {
  switch (status) {
    case LSTMCORE_CUDA_OK:
      return;
    case LSTMCORE_CUDA_INVALID:
      throw py::value_error(error);
    case LSTMCORE_CUDA_OUT_OF_MEMORY:
      PyErr_SetString(PyExc_MemoryError, error);
      throw py::error_already_set();
    default:
      throw std::runtime_error(error);
  }
}

}  // namespace python
}  // namespace lstmcore
