// One oneDNN LSTM layer (one or both directions) as a C interface: weights reordered once into the layout it
// prefers.
#include <cstring>
#include <unordered_map>
#include <vector>

#include "dnnl.hpp"

using dnnl::memory;
using Tag = memory::format_tag;

namespace {

struct Layer {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::lstm_forward lstm;
  memory x, y, h, c, h_out, c_out;
  std::unordered_map<int, memory> arguments;
  std::vector<float> states[4];
};

memory::desc dense(const memory::dims& sizes, Tag tag) { return {sizes, memory::data_type::f32, tag}; }

memory reordered(Layer& layer, const memory::desc& from, const float* values, const memory::desc& to) {
  memory user(from, layer.engine, const_cast<float*>(values)), packed(to, layer.engine);
  dnnl::reorder(user, packed).execute(layer.stream, user, packed);
  layer.stream.wait();
  return packed;
}

}  // namespace

extern "C" {

// W [D, I, 4, H], R [D, H, 4, H] and b [D, 4, H], gates i, f, j, o.
void* onednn_make(long T, long N, long I, long H, long D, const float* W, const float* R, const float* b) {
  auto* layer = new Layer;
  const auto any = [](const memory::dims& sizes) { return dense(sizes, Tag::any); };
  const memory::desc x = dense({T, N, I}, Tag::tnc), y = dense({T, N, D * H}, Tag::tnc),
                     state = dense({1, D, N, H}, Tag::ldnc), bias = dense({1, D, 4, H}, Tag::ldgo);
  const dnnl::lstm_forward::primitive_desc pd(
      layer->engine, dnnl::prop_kind::forward_inference,
      D == 2 ? dnnl::rnn_direction::bidirectional_concat : dnnl::rnn_direction::unidirectional_left2right, x,
      state, state, any({1, D, I, 4, H}), any({1, D, H, 4, H}), bias, y, state, state);
  layer->lstm = dnnl::lstm_forward(pd);
  layer->x = memory(x, layer->engine, nullptr);
  layer->y = memory(y, layer->engine, nullptr);
  memory* const states[] = {&layer->h, &layer->c, &layer->h_out, &layer->c_out};
  for (int k = 0; k < 4; ++k) {
    layer->states[k].assign(D * N * H, 0);
    *states[k] = memory(state, layer->engine, layer->states[k].data());
  }
  memory kept(bias, layer->engine);
  std::memcpy(kept.get_data_handle(), b, sizeof(float) * D * 4 * H);
  layer->arguments = {
      {DNNL_ARG_SRC_LAYER, layer->x},
      {DNNL_ARG_SRC_ITER, layer->h},
      {DNNL_ARG_SRC_ITER_C, layer->c},
      {DNNL_ARG_WEIGHTS_LAYER,
       reordered(*layer, dense({1, D, I, 4, H}, Tag::ldigo), W, pd.weights_layer_desc())},
      {DNNL_ARG_WEIGHTS_ITER,
       reordered(*layer, dense({1, D, H, 4, H}, Tag::ldigo), R, pd.weights_iter_desc())},
      {DNNL_ARG_BIAS, kept},
      {DNNL_ARG_DST_LAYER, layer->y},
      {DNNL_ARG_DST_ITER, layer->h_out},
      {DNNL_ARG_DST_ITER_C, layer->c_out},
  };
  return layer;
}

// n times over all time steps; with `carry` the final state of one is the initial state of the next.
void onednn_run(void* handle, const float* x, float* y, long n, int carry) {
  auto* layer = static_cast<Layer*>(handle);
  layer->x.set_data_handle(const_cast<float*>(x));
  layer->y.set_data_handle(y);
  for (long k = 0; k < n; ++k) {
    layer->lstm.execute(layer->stream, layer->arguments);
    layer->stream.wait();
    if (!carry) continue;
    for (auto [a, b] : {std::pair(&layer->h, &layer->h_out), std::pair(&layer->c, &layer->c_out)}) {
      void* const swapped = a->get_data_handle();
      a->set_data_handle(b->get_data_handle());
      b->set_data_handle(swapped);
    }
  }
}

}  // extern "C"
