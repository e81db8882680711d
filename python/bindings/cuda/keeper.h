// Objects of Python whose memory the device still uses.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "lstmcore/cuda_abi.h"

namespace lstmcore {
namespace python {

// Objects are let go, in the order of their stream, once the device has passed the event behind the work that
// uses them: which is looked at in the calls that follow. All members need the GIL; they let go of objects
// without a lock, as that may run any code of Python's.
class Keeper {
 public:
  using Objects = std::vector<pybind11::object>;

  explicit Keeper(const lstmcore_cuda_api_v1& api) : api_(api) {}
  ~Keeper();  // of the process's end: what is still kept stays so
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  // Until the present work of the stream is done. Where the stream is being captured nothing is kept: nobody
  // knows when the graph runs. Throws nothing.
  void keep(Objects objects, int device, std::uintptr_t stream);
  // Lets go of those whose work is done.
  void release();

 private:
  struct Kept {
    void* event;
    Objects objects;
  };
  using Place = std::pair<int, std::uintptr_t>;  // device and stream

  void* record(const Place& place);

  const lstmcore_cuda_api_v1& api_;
  std::mutex mutex_;
  std::map<Place, std::deque<Kept>> kept_;
  std::multimap<int, void*> free_events_;  // by device
};

}  // namespace python
}  // namespace lstmcore
