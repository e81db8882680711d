#include "lstmcore/stack.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "checks.h"

namespace lstmcore {
namespace {

template <class T>
void check_layers(const std::vector<StackLayer<T>>& layers, std::size_t states) {
  if (layers.empty()) throw std::invalid_argument("layers: expected at least one");
  std::size_t directions = 0;
  const StackLayer<T>* below = nullptr;
  for (const StackLayer<T>& layer : layers) {
    if (!layer.forward && !layer.backward)
      throw std::invalid_argument("layers: expected a forward or a backward direction in each");
    directions += (layer.forward != nullptr) + (layer.backward != nullptr);
    for (const auto& lstm : {layer.forward, layer.backward}) {
      const std::int64_t expected = below ? below->output_size() : layer.input_size();
      if (lstm && lstm->spec().input_size != expected)
        throw std::invalid_argument("layers: expected an input_size of " + std::to_string(expected) +
                                    ", got " + std::to_string(lstm->spec().input_size));
    }
    below = &layer;
  }
  if (states != directions)
    throw std::invalid_argument("states: expected " + std::to_string(directions) + ", got " +
                                std::to_string(states));
}

// Before the first layer runs: the calls of the others would find them too late.
template <class T>
void check_states(const std::vector<StackLayer<T>>& layers, const StackArgs<T>& args) {
  std::size_t k = 0;
  for (const StackLayer<T>& layer : layers)
    for (const auto& lstm : {layer.forward, layer.backward}) {
      if (!lstm) continue;
      if (!args.states[k].c_n && args.call.batch > 0 && lstm->spec().num_units > 0)
        throw std::invalid_argument("states[" + std::to_string(k) + "]: c_n is missing");
      ++k;
    }
}

// The outputs of a layer, as the next one reads them.
template <class T>
class Between {
 public:
  Between(const ForwardArgs<T>& call, std::int64_t rows) : packed_(call.offsets), N_(call.batch) {
    rows_ = packed_ ? rows : call.steps * call.batch;
  }
  SequenceView<T> view(std::int64_t width) {
    const auto needed = static_cast<std::size_t>(rows_ * width);
    if (needed > size_) {
      data_.reset(new T[needed]);
      size_ = needed;
    }
    return {data_.get(), packed_ ? width : N_ * width, packed_ ? 0 : width};
  }

 private:
  bool packed_;
  std::int64_t N_, rows_;
  std::unique_ptr<T[]> data_;
  std::size_t size_ = 0;
};

template <class T>
void run_layer(const StackLayer<T>& layer, ForwardArgs<T> args, const StackState<T>*& state) {
  ForwardCall<T> calls[2];
  int n = 0;
  for (const bool reverse : {false, true}) {
    const Lstm<T>* const lstm = (reverse ? layer.backward : layer.forward).get();
    if (!lstm) continue;
    ForwardCall<T>& call = calls[n++];
    call.lstm = lstm;
    call.args = args;
    call.args.reverse = reverse;
    call.args.c0 = state->c0;
    call.args.h0 = state->h0;
    call.args.c_n = state->c_n;
    call.args.h_n = state->h_n;
    ++state;
    // The other direction's half begins where this one's ends.
    if (args.y) args.y.data += lstm->spec().output_size();
    if (args.c_seq) args.c_seq.data += lstm->spec().num_units;
  }
  if (n == 1)
    calls[0].lstm->forward(calls[0].args);
  else
    forward_all(calls, n);
}

}  // namespace

template <class T>
void forward_stack(const std::vector<StackLayer<T>>& layers, const StackArgs<T>& args) {
  check_layers(layers, args.states.size());
  check_states(layers, args);
  check_rows(args.call);
  const std::int64_t rows = args.call.offsets ? args.call.offsets[args.call.batch] : 0;
  Between<T> even(args.call, rows), odd(args.call, rows);
  ForwardArgs<T> call = args.call;
  call.gates = {};
  const StackState<T>* state = args.states.data();
  for (std::size_t k = 0; k < layers.size(); ++k) {
    const bool last = k + 1 == layers.size();
    call.y = last ? args.call.y : (k % 2 ? odd : even).view(layers[k].output_size());
    call.c_seq = last ? args.call.c_seq : SequenceView<T>{};
    run_layer(layers[k], call, state);
    call.x = {call.y.data, call.y.step_stride, call.y.row_stride};
  }
}

template void forward_stack(const std::vector<StackLayer<float>>&, const StackArgs<float>&);
template void forward_stack(const std::vector<StackLayer<double>>&, const StackArgs<double>&);

}  // namespace lstmcore
