// Captured CUDA graphs of a layer's time loops, the ones that were used last.
#pragma once

#include <cuda_runtime.h>

#include <list>
#include <utility>

#include "status.h"

namespace lstmcore {
namespace cuda {

class Graph {
 public:
  Graph() = default;
  // What `enqueue` puts on `stream`, which is not the caller's.
  template <class F>
  Graph(cudaStream_t stream, const F& enqueue) {
    LSTMCORE_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    cudaGraph_t graph = nullptr;
    try {
      enqueue();
    } catch (...) {
      if (cudaStreamEndCapture(stream, &graph) == cudaSuccess && graph) cudaGraphDestroy(graph);
      cudaGetLastError();
      throw;
    }
    LSTMCORE_CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
    const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "cudaGraphInstantiate");
  }
  ~Graph() {
    if (executable_) cudaGraphExecDestroy(executable_);
  }
  Graph(Graph&& other) noexcept : executable_(std::exchange(other.executable_, nullptr)) {}
  Graph& operator=(Graph&& other) noexcept {
    std::swap(executable_, other.executable_);
    return *this;
  }
  explicit operator bool() const { return executable_; }
  void launch(cudaStream_t stream) const { LSTMCORE_CUDA_CHECK(cudaGraphLaunch(executable_, stream)); }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

// Everything that is inside a captured graph and does not change from call to call. Two calls that differ in
// nothing here can share one.
struct GraphKey {
  std::int64_t steps, N, step, row, generation;
  bool reverse;
  const void* memory;
  bool operator==(const GraphKey& o) const {
    return steps == o.steps && N == o.N && step == o.step && row == o.row && generation == o.generation &&
           reverse == o.reverse && memory == o.memory;
  }
};

class GraphCache {
 public:
  // Null the first time that a key is asked for: a graph pays from the second call on. Then a graph, which
  // the caller fills where it is empty.
  Graph* find(const GraphKey& key) {
    for (auto entry = graphs_.begin(); entry != graphs_.end(); ++entry)
      if (entry->first == key) {
        graphs_.splice(graphs_.begin(), graphs_, entry);
        return &entry->second;
      }
    graphs_.emplace_front(key, Graph());
    if (graphs_.size() > kGraphs) graphs_.pop_back();
    return nullptr;
  }

 private:
  static constexpr std::size_t kGraphs = 8;
  std::list<std::pair<GraphKey, Graph>> graphs_;  // the latest first
};

}  // namespace cuda
}  // namespace lstmcore
