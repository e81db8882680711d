// Layers over one another, each of one direction or two: what a whole LSTM model is.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "lstmcore/lstm.h"

namespace lstmcore {

// At least one of the two. With both, the outputs of `forward` and `backward` stand side by side, in that
// order.
template <class T>
struct StackLayer {
  std::shared_ptr<const Lstm<T>> forward, backward;

  std::int64_t input_size() const { return (forward ? forward : backward)->spec().input_size; }
  std::int64_t output_size() const {
    return (forward ? forward->spec().output_size() : 0) + (backward ? backward->spec().output_size() : 0);
  }
  std::int64_t num_units() const {
    return (forward ? forward->spec().num_units : 0) + (backward ? backward->spec().num_units : 0);
  }
};

// State of one direction of one layer. c0 and h0 may be null for zeros, h_n where it is not wanted; c_n may
// not.
template <class T>
struct StackState {
  const T* c0 = nullptr;  // [N, H]
  const T* h0 = nullptr;  // [N, P]
  T* c_n = nullptr;       // [N, H]
  T* h_n = nullptr;       // [N, P]
};

// One call over T steps of every layer. `call` has x, the sizes, lengths or offsets and threads, and where y
// and c_seq of the last layer go ([T, N, output_size] and [T, N, num_units] of that layer); its states, gates
// and reverse are not used.
template <class T>
struct StackArgs {
  ForwardArgs<T> call;
  std::vector<StackState<T>> states;  // per layer forward, then backward, of those that there are
};

// Throws std::invalid_argument for no layers, widths that do not meet and another number of states, and what
// Lstm::forward throws, before anything is written; std::bad_alloc where memory between layers cannot be had.
template <class T>
void forward_stack(const std::vector<StackLayer<T>>& layers, const StackArgs<T>& args);

}  // namespace lstmcore
