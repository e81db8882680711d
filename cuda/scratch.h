// The scratch memory of a call, and the chunks of steps that it is enough for.
#pragma once

#include <algorithm>

#include "dtypes.h"
#include "plan.h"
#include "stepwise.h"

namespace lstmcore {
namespace cuda {

constexpr std::size_t kProjectedLimit = std::size_t{256} << 20;  // bytes of x W, and of m, at a time
constexpr std::int64_t kGraphSteps = 128;                        // at most, in one captured graph

// x W of a chunk of steps: [steps, N, 4H], or [N, steps, 4H] where x has its steps side by side.
struct Chunk {
  std::int64_t first, steps;
  std::int64_t step, row;  // strides of x W, in elements
};

// Whether the layer's projection is folded into R: see PersistentPath.
inline bool folds(const lstmcore_cuda_spec& spec, const lstmcore_cuda_plan& plan) {
  return spec.num_proj && plan.path != LSTMCORE_CUDA_STEPWISE;
}

// Of x W in a row of a step, and of m P in its place where the projection is folded.
inline std::int64_t projected_width(const lstmcore_cuda_spec& spec, const lstmcore_cuda_plan& plan) {
  return std::max(4 * spec.num_units, folds(spec, plan) ? spec.num_proj : 0);
}

// How many steps to take at a time.
template <class S>
std::int64_t chunk_steps(const lstmcore_cuda_spec& spec, const lstmcore_cuda_plan& plan, std::int64_t T,
                         std::int64_t N) {
  const std::size_t row = std::size_t(projected_width(spec, plan)) * sizeof(Accumulator<S>) +
                          (folds(spec, plan) ? std::size_t(spec.num_units) * sizeof(S) : 0);
  const std::size_t projected = std::size_t(std::max<std::int64_t>(N, 1)) * row;
  std::int64_t steps = std::max<std::int64_t>(std::int64_t(kProjectedLimit / projected), 1);
  if (plan.exchange_bytes)
    steps = std::min(steps, std::max<std::int64_t>(std::int64_t(kExchangeLimit / plan.exchange_bytes), 1));
  if (plan.path == LSTMCORE_CUDA_STEPWISE) steps = std::min(steps, kGraphSteps);
  return std::min(steps, std::max<std::int64_t>(T, 1));
}

// Hands out parts of one piece of memory; without memory it only counts.
class Carver {
 public:
  explicit Carver(char* memory = nullptr) : memory_(memory) {}
  template <class T>
  T* take(std::int64_t count) {
    char* at = memory_ ? memory_ + used_ : nullptr;
    used_ += (std::size_t(count) * sizeof(T) + 255) / 256 * 256;
    return reinterpret_cast<T*>(at);
  }
  std::size_t used() const { return used_; }

 private:
  char* memory_;
  std::size_t used_ = 0;
};

template <class S>
struct Scratch {
  using A = Accumulator<S>;
  StepOutputs* outputs;
  int* lengths;
  A *projected, *c, *m_projected;
  S *h, *h_next, *m;  // h_next: for kernels that read h in one thread and write it in another
  S* x;               // for StepwisePath::run_cell
  std::uint32_t* exchange;
  // Where the projection is folded: m_next is to m what h_next is to h; m of all steps, where y is wanted.
  S *m_next, *m_steps;
  A* initial;  // h0 R

  Scratch(Carver& carver, const lstmcore_cuda_spec& spec, const lstmcore_cuda_plan& plan, std::int64_t steps,
          std::int64_t N, bool y) {
    const std::int64_t H = spec.num_units, P = spec.num_proj ? spec.num_proj : H;
    const bool folded = folds(spec, plan);
    outputs = carver.take<StepOutputs>(1);
    lengths = carver.take<int>(N);
    projected = carver.take<A>(steps * N * projected_width(spec, plan));
    c = carver.take<A>(N * H);
    h = carver.take<S>(N * P);
    h_next = carver.take<S>(N * P);
    m = carver.take<S>(spec.num_proj ? N * H : 0);
    m_projected = carver.take<A>(spec.num_proj ? N * P : 0);
    x = carver.take<S>(steps == 1 && N <= kFewRows ? N * spec.input_size : 0);
    exchange = carver.take<std::uint32_t>(steps * std::int64_t(plan.exchange_bytes / 4));
    m_next = carver.take<S>(folded ? N * H : 0);
    m_steps = carver.take<S>(folded && y ? steps * N * H : 0);
    initial = carver.take<A>(folded ? N * 4 * H : 0);
  }
};

}  // namespace cuda
}  // namespace lstmcore
