#include "lstmcore/stream.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

namespace lstmcore {
namespace {

// A push runs layer by layer over blocks of steps, so that what one layer hands to the next stays in the
// second-level cache and the memory for it stays bounded.
constexpr std::int64_t kBlockBytes = 256 * 1024;
constexpr std::int64_t kLeastBlockSteps = 16;

template <class T>
void check_layers(const Layers<T>& layers) {
  if (layers.empty()) throw std::invalid_argument("layers: expected at least one");
  for (std::size_t k = 0; k < layers.size(); ++k) {
    const std::string name = "layers[" + std::to_string(k) + "]";
    if (!layers[k]) throw std::invalid_argument(name + " is null");
    if (k == 0) continue;
    const std::int64_t given = layers[k - 1]->spec().output_size(), taken = layers[k]->spec().input_size;
    if (given != taken)
      throw std::invalid_argument(name + ": its input_size is " + std::to_string(taken) +
                                  ", but the layer below has outputs of width " + std::to_string(given));
  }
}

}  // namespace

template <class T>
Stream<T>::Stream(Layers<T> layers, std::int64_t rows) : layers_(std::move(layers)) {
  check_layers(layers_);
  for (const auto& layer : layers_) state_size_ += layer->spec().num_units + layer->spec().output_size();
  for (std::size_t k = 1; k < layers_.size(); ++k)
    inner_size_ = std::max(inner_size_, layers_[k]->spec().input_size);
  set_rows(rows);
  reset();
}

template <class T>
Stream<T>::Stream(const Stream& other)  // without the memory of pushes, which a copy may never need
    : layers_(other.layers_),
      rows_(other.rows_),
      state_size_(other.state_size_),
      inner_size_(other.inner_size_),
      state_(other.state_),
      next_state_(other.state_.size()) {}

template <class T>
void Stream<T>::set_rows(std::int64_t rows) {
  if (rows < 0) throw std::invalid_argument("rows must not be negative, got " + std::to_string(rows));
  if (rows > std::numeric_limits<std::int64_t>::max() / static_cast<std::int64_t>(sizeof(T)) /
                 std::max<std::int64_t>(1, state_size_))
    throw std::length_error("rows: " + std::to_string(rows) + " states of " + std::to_string(state_size_) +
                            " values are more than memory can hold");
  // one more, so that no address is null: null would mean zeros to the kernels
  const auto size = static_cast<std::size_t>(rows * state_size_ + 1);
  if (state_.size() < size) {
    std::vector<T> state(size), next(size);
    state_.swap(state);
    next_state_.swap(next);
  }
  rows_ = rows;
}

// Of the layer whose state begins at `offset`, but for its outputs.
template <class T>
ForwardArgs<T> Stream<T>::forward_args(std::int64_t steps, SequenceView<const T> x, const LstmSpec& spec,
                                       std::int64_t offset, std::vector<T>& from, std::vector<T>& to) {
  ForwardArgs<T> args;
  args.steps = steps;
  args.batch = rows_;
  args.x = x;
  args.c0 = at(from, offset);
  args.h0 = at(from, offset + spec.num_units);
  args.c_n = at(to, offset);
  args.workspace = &scratch_->layers;
  return args;
}

template <class T>
void Stream<T>::step(const T* x, T* out, Interruption* interruption) {
  std::int64_t offset = 0;
  for (const auto& layer : layers_) {
    const LstmSpec& spec = layer->spec();
    auto args = forward_args(1, {x, 0, spec.input_size}, spec, offset, state_, next_state_);
    args.y = {at(next_state_, offset + spec.num_units), 0, spec.output_size()};
    args.interruption = interruption;
    layer->forward(args);
    x = args.y.data;
    offset += spec.num_units + spec.output_size();
  }
  std::copy_n(x, rows_ * output_size(), out);
  state_.swap(next_state_);
}

template <class T>
std::int64_t Stream<T>::block_steps() const {
  const std::int64_t bytes = rows_ * inner_size_ * static_cast<std::int64_t>(sizeof(T));
  return bytes == 0 ? std::numeric_limits<std::int64_t>::max()
                    : std::max(kLeastBlockSteps, kBlockBytes / bytes);
}

template <class T>
void Stream<T>::push(std::int64_t steps, SequenceView<const T> x, SequenceView<T> out,
                     Interruption* interruption) {
  if (steps < 0) throw std::invalid_argument("steps must not be negative, got " + std::to_string(steps));
  if (steps == 0) return;
  const std::int64_t block = std::min(steps, block_steps());
  if (layers_.size() > 1) {
    const auto bytes = static_cast<std::size_t>(block * rows_ * inner_size_) * sizeof(T);
    for (std::size_t k = 0; k < std::min<std::size_t>(2, layers_.size() - 1); ++k)
      scratch_->inner[k].reserve(bytes);
  }
  for (std::int64_t t = 0; t < steps; t += block)  // the first block leaves state_ as it is, the others too
    push_block(std::min(block, steps - t), {x.at(t, 0), x.step_stride, x.row_stride},
               {out.at(t, 0), out.step_stride, out.row_stride}, t == 0 ? state_ : next_state_, next_state_,
               interruption);
  state_.swap(next_state_);
}

template <class T>
void Stream<T>::push_block(std::int64_t steps, SequenceView<const T> x, SequenceView<T> out,
                           std::vector<T>& from, std::vector<T>& to, Interruption* interruption) {
  std::int64_t offset = 0;
  for (std::size_t k = 0; k < layers_.size(); ++k) {
    const LstmSpec& spec = layers_[k]->spec();
    const std::int64_t P = spec.output_size();
    auto args = forward_args(steps, x, spec, offset, from, to);
    args.y = k + 1 == layers_.size()
                 ? out
                 : SequenceView<T>{static_cast<T*>(scratch_->inner[k % 2].reserve(0)), rows_ * P, P};
    args.h_n = at(to, offset + spec.num_units);
    args.interruption = interruption;
    layers_[k]->forward(args);
    x = {args.y.data, args.y.step_stride, args.y.row_stride};
    offset += spec.num_units + P;
  }
}

template <class T>
void Stream<T>::read_state(std::int64_t row, T* values) const {
  std::int64_t offset = 0;
  for (const auto& layer : layers_) {
    for (const std::int64_t width : {layer->spec().num_units, layer->spec().output_size()}) {
      std::copy_n(state_.data() + rows_ * offset + row * width, width, values + offset);
      offset += width;
    }
  }
}

template <class T>
void Stream<T>::write_state(std::int64_t row, const T* values) {
  std::int64_t offset = 0;
  for (const auto& layer : layers_) {
    for (const std::int64_t width : {layer->spec().num_units, layer->spec().output_size()}) {
      std::copy_n(values + offset, width, at(state_, offset) + row * width);
      offset += width;
    }
  }
}

template <class T>
void Stream<T>::reset() {
  std::fill(state_.begin(), state_.end(), T(0));
}

template <class T>
std::size_t Stream<T>::trim() {
  return scratch_->layers.release() + scratch_->inner[0].release() + scratch_->inner[1].release();
}

template class Stream<float>;
template class Stream<double>;

}  // namespace lstmcore
