#include "graph_keeping.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

#include "status.h"

namespace lstmcore {
namespace cuda {
namespace {

struct Kept {
  std::shared_ptr<void> object;
  std::atomic<bool> graph_gone{false};
};

// Of the process, as a graph may outlive all that made it.
struct Records {
  std::mutex mutex;
  std::vector<std::unique_ptr<Kept>> kept;
  std::atomic<bool> some_gone{false};
};

Records& records() {
  static auto* const all = new Records;  // never destroyed: CUDA destroys graphs while the process ends, too
  return *all;
}

// CUDA calls this on a thread of its own, in which nothing of CUDA may be called.
void CUDART_CB graph_is_gone(void* kept) {
  static_cast<Kept*>(kept)->graph_gone = true;
  records().some_gone = true;
}

}  // namespace

void keep_for_graph(cudaGraph_t graph, std::shared_ptr<void> object) {
  auto kept = std::make_unique<Kept>();
  kept->object = std::move(object);
  cudaUserObject_t user = nullptr;
  LSTMCORE_CUDA_CHECK(
      cudaUserObjectCreate(&user, kept.get(), graph_is_gone, 1, cudaUserObjectNoDestructorSync));
  {
    Records& all = records();
    const std::lock_guard<std::mutex> lock(all.mutex);
    all.kept.push_back(std::move(kept));
  }
  const cudaError_t status = cudaGraphRetainUserObject(graph, user, 1, cudaGraphUserObjectMove);
  if (status != cudaSuccess) cudaUserObjectRelease(user, 1);
  check(status, "cudaGraphRetainUserObject");
}

void let_go_of_graphs() noexcept {
  Records& all = records();
  if (!all.some_gone) return;
  std::vector<std::unique_ptr<Kept>> gone;  // destroyed without the lock, as that may wait for the device
  const std::lock_guard<std::mutex> lock(all.mutex);
  all.some_gone = false;
  const auto first = std::partition(all.kept.begin(), all.kept.end(),
                                    [](const std::unique_ptr<Kept>& kept) { return !kept->graph_gone; });
  gone.assign(std::make_move_iterator(first), std::make_move_iterator(all.kept.end()));
  all.kept.erase(first, all.kept.end());
}

}  // namespace cuda
}  // namespace lstmcore
