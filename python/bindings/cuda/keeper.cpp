#include "keeper.h"

#include "../in_use.h"

namespace lstmcore {
namespace python {

namespace py = pybind11;

Keeper::~Keeper() {
  for (auto& place : kept_)
    for (Kept& kept : place.second)
      for (py::object& object : kept.objects) object.release();
}

// Null where there is nothing to wait for. Without the GIL: a stream that is full makes the host wait.
void* Keeper::record(const Place& place) {
  void* event = nullptr;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = free_events_.find(place.first);
    if (found != free_events_.end()) {
      event = found->second;
      free_events_.erase(found);
    }
  }
  char error[LSTMCORE_CUDA_ERROR_SIZE];
  const WithoutGil without_gil;
  const int status = api_.record(place.first, reinterpret_cast<void*>(place.second), &event, error);
  return status ? nullptr : event;  // a device that fails here does no more work
}

void Keeper::keep(Objects objects, int device, std::uintptr_t stream) {
  if (!objects.empty()) {
    const Place place(device, stream);
    if (void* event = record(place)) {
      const std::lock_guard<std::mutex> lock(mutex_);
      kept_[place].push_back({event, std::move(objects)});
    }
  }
  release();
}

void Keeper::release() {
  std::vector<Objects> done;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    char error[LSTMCORE_CUDA_ERROR_SIZE];
    for (auto place = kept_.begin(); place != kept_.end();) {
      std::deque<Kept>& kept = place->second;
      while (!kept.empty()) {
        int passed = 1;
        if (api_.passed(place->first.first, kept.front().event, &passed, error) == 0 && !passed) break;
        free_events_.emplace(place->first.first, kept.front().event);
        done.push_back(std::move(kept.front().objects));
        kept.pop_front();
      }
      place = kept.empty() ? kept_.erase(place) : std::next(place);
    }
  }
}

}  // namespace python
}  // namespace lstmcore
