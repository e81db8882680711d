// liblstmcore_cuda.so, opened when it is first wanted, and its statuses as Python's exceptions.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <string>

#include "../in_use.h"
#include "keeper.h"
#include "lstmcore/cuda_abi.h"

namespace lstmcore {
namespace python {

namespace py = pybind11;

// Raises RuntimeError where it cannot be opened or is of another version. It stays open.
class CudaLibrary : public std::enable_shared_from_this<CudaLibrary> {
 public:
  explicit CudaLibrary(const std::string& file);
  const lstmcore_cuda_api_v1& api() const { return *api_; }
  Keeper& keeper() const { return *keeper_; }

  // Calls api().*function(arguments..., error) without the GIL. MemoryError, ValueError, or RuntimeError with
  // CUDA's own words.
  template <class... Parameters, class... Arguments>
  void call(int (*function)(Parameters...), Arguments... arguments) const {
    char error[LSTMCORE_CUDA_ERROR_SIZE] = "";
    int status = 0;
    {
      const WithoutGil without_gil;
      status = function(arguments..., error);
    }
    raise(status, error);
  }

 private:
  static void raise(int status, const char* error);
  const lstmcore_cuda_api_v1* api_;
  std::unique_ptr<Keeper> keeper_;
};

using CudaLibraryPtr = std::shared_ptr<const CudaLibrary>;

}  // namespace python
}  // namespace lstmcore
