#include "lstmcore/stack.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "checks.h"
#include "workspace.h"

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

// Memory of one call: the outputs of layers, as the next one reads them, and what two directions need.
template <class T>
class Between {
 public:
  // Takes all of it, so that no layer is short of memory once the one below has results.
  Between(const std::vector<StackLayer<T>>& layers, const ForwardArgs<T>& call) : call_(call) {
    for (const StackLayer<T>& layer : layers) {  // these check the sizes as well
      if (layer.forward) reserve(workspace(false), *layer.forward);
      if (layer.backward) reserve(workspace(true), *layer.backward);
    }
    rows_ = call.offsets ? call.offsets[call.batch] : call.steps * call.batch;
    for (std::size_t k = 0; k + 1 < layers.size(); ++k) outputs(k, layers[k].output_size());
  }

  SequenceView<T> outputs(std::size_t layer, std::int64_t width) {
    void* const memory =
        outputs_[layer % 2].get().reserve(static_cast<std::size_t>(rows_ * width) * sizeof(T));
    return {static_cast<T*>(memory), call_.offsets ? width : call_.batch * width, call_.offsets ? 0 : width};
  }
  Workspace& workspace(bool reverse) {
    return call_.workspace && !reverse ? *call_.workspace : workspaces_[reverse].get();
  }

 private:
  // As for a layer between others; the last one may need less.
  void reserve(Workspace& workspace, const Lstm<T>& lstm) {
    ForwardArgs<T> args = call_;
    args.c0 = nullptr;
    args.y = {};
    workspace.reserve(lstm.workspace_bytes(args));
  }

  const ForwardArgs<T>& call_;
  std::int64_t rows_ = 0;
  BorrowedWorkspace outputs_[2], workspaces_[2];
};

template <class T>
void run_layer(const StackLayer<T>& layer, ForwardArgs<T> args, Between<T>& between,
               const StackState<T>*& state) {
  ForwardCall<T> calls[2];
  int n = 0;
  for (const bool reverse : {false, true}) {
    const Lstm<T>* const lstm = (reverse ? layer.backward : layer.forward).get();
    if (!lstm) continue;
    ForwardCall<T>& call = calls[n++];
    call.lstm = lstm;
    call.args = args;
    call.args.reverse = reverse;
    call.args.workspace = &between.workspace(reverse);
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
  ForwardArgs<T> call = args.call;
  call.gates = {};
  Between<T> between(layers, call);
  const StackState<T>* state = args.states.data();
  for (std::size_t k = 0; k < layers.size(); ++k) {
    const bool last = k + 1 == layers.size();
    call.y = last ? args.call.y : between.outputs(k, layers[k].output_size());
    call.c_seq = last ? args.call.c_seq : SequenceView<T>{};
    run_layer(layers[k], call, between, state);
    call.x = {call.y.data, call.y.step_stride, call.y.row_stride};
  }
}

template void forward_stack(const std::vector<StackLayer<float>>&, const StackArgs<float>&);
template void forward_stack(const std::vector<StackLayer<double>>&, const StackArgs<double>&);

}  // namespace lstmcore
