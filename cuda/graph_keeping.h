// What captured CUDA graphs use stays alive as long as they do.
#pragma once

#include <cuda_runtime.h>

#include <memory>

namespace lstmcore {
namespace cuda {

// `kept` lives until the graph, all that was instantiated from it, and what of that still runs is gone; at
// least until the next let_go_of_graphs() after that. Throws Error, and keeps nothing then.
void keep_for_graph(cudaGraph_t graph, std::shared_ptr<void> kept);
void let_go_of_graphs() noexcept;

}  // namespace cuda
}  // namespace lstmcore
