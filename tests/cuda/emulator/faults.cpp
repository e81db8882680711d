#include "faults.h"

#include <cuda_runtime.h>

#include <mutex>
#include <string>

namespace {

std::mutex mutex;
std::string failing;
int calls_left = 0, failures_left = 0, failure = 0, driver = 13000;

}  // namespace

void emulator_fail(const char* function, int skip, int count, int status) {
  const std::lock_guard<std::mutex> lock(mutex);
  failing = function;
  calls_left = skip;
  failures_left = count;
  failure = status;
}

bool emulator::fails(const char* function, int* status) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (!failures_left || failing != function) return false;
  if (calls_left) {
    --calls_left;
    return false;
  }
  --failures_left;
  *status = failure;
  return true;
}

void emulator_driver(int version) { driver = version; }

cudaError_t cudaDriverGetVersion(int* version) {
  *version = driver;
  return cudaSuccess;
}
