// The rows of a call's batch: how long each one runs, and where its inputs, states and outputs of a step are.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/kernel.h"
#include "cpu/scratch.h"

namespace lstmcore {
namespace cpu {

template <class T>
class Rows {
 public:
  Rows(const ForwardArgs<T>& args, const LstmSpec& spec, const Scratch<T>& scratch)
      : args_(args), H_(spec.num_units), P_(spec.output_size()), scratch_(scratch) {}

  bool ragged() const { return args_.lengths || args_.offsets; }
  std::int64_t length(std::int64_t n) const {
    if (args_.offsets) return args_.offsets[n + 1] - args_.offsets[n];
    return args_.lengths ? args_.lengths[n] : args_.steps;
  }

  const SlotRow* sorted() const { return scratch_.slot_rows; }

  Row<T> at(std::int64_t n, std::int64_t step) const {
    const std::int64_t t = time(n, step);
    Row<T> row;
    row.x = at(args_.x, t, n);
    row.z = nullptr;
    row.h = step == 0 ? initial(args_.h0, n, P_) : hidden(n, step - 1);
    row.c = step == 0 ? initial(args_.c0, n, H_) : cell(n, step - 1);
    row.c_out = cell(n, step);
    row.projected = hidden(n, step);
    row.h_out = scratch_.unprojected ? scratch_.unprojected + n * H_ : row.projected;
    row.gate_offset = (t * args_.batch + n) * H_;
    return row;
  }

  // After the last step of row n: its final state, and zeros in the outputs past its length.
  void finish(std::int64_t n) const {
    const std::int64_t length = this->length(n);
    const T* h = length ? hidden(n, length - 1) : initial(args_.h0, n, P_);
    const T* c = length ? cell(n, length - 1) : initial(args_.c0, n, H_);
    if (args_.h_n && h != args_.h_n + n * P_) std::copy_n(h, P_, args_.h_n + n * P_);
    if (c != args_.c_n + n * H_) std::copy_n(c, H_, args_.c_n + n * H_);
    if (args_.offsets || (!args_.y && !args_.c_seq)) return;
    for (std::int64_t t = length; t < args_.steps; ++t) {
      if (args_.y) std::fill_n(args_.y.at(t, n), P_, T(0));
      if (args_.c_seq) std::fill_n(args_.c_seq.at(t, n), H_, T(0));
    }
  }

 private:
  std::int64_t time(std::int64_t n, std::int64_t step) const {
    return args_.reverse ? length(n) - 1 - step : step;
  }
  template <class U>
  U* at(const SequenceView<U>& view, std::int64_t t, std::int64_t n) const {
    return args_.offsets ? view.data + (args_.offsets[n] + t) * view.step_stride : view.at(t, n);
  }
  const T* initial(const T* state, std::int64_t n, std::int64_t width) const {
    return state ? state + n * width : scratch_.zeros;
  }
  T* hidden(std::int64_t n, std::int64_t step) const {
    return args_.y ? at(args_.y, time(n, step), n) : scratch_.hidden + ((step & 1) * args_.batch + n) * P_;
  }
  T* cell(std::int64_t n, std::int64_t step) const {
    return args_.c_seq ? at(args_.c_seq, time(n, step), n) : args_.c_n + n * H_;
  }

  const ForwardArgs<T>& args_;
  std::int64_t H_, P_;
  const Scratch<T>& scratch_;
};

// The rows that some threads work on: of the slots of a ragged batch (slots.h), else of the rows themselves,
// every `stride`-th from `begin` on. Those still running at a step are the first ones.
template <class T>
class RowSet {
 public:
  // `slots` null: all rows are equally long, and each is a slot of its own.
  RowSet(const Rows<T>& rows, const Slot* slots, std::int64_t begin, std::int64_t stride, std::int64_t size)
      : rows_(rows), slots_(slots), begin_(begin), stride_(stride), size_(size) {}

  std::int64_t size() const { return size_; }
  // Steps of the k-th.
  std::int64_t length(std::int64_t k) const {
    return slots_ ? slots_[index(k)].steps : rows_.length(index(k));
  }
  std::int64_t longest() const { return size_ ? length(0) : 0; }
  // How many of them run at `step`.
  std::int64_t running(std::int64_t step) const {
    if (!slots_) return step < longest() ? size_ : 0;
    std::int64_t low = 0, high = size_;  // those before low run, those from high on do not
    while (low < high) {
      const std::int64_t middle = (low + high) / 2;
      if (length(middle) > step)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
  Row<T> at(std::int64_t k, std::int64_t step) const {
    if (!slots_) return rows_.at(index(k), step);
    const SlotRow& row = slots_[index(k)].at(rows_.sorted(), step);
    return rows_.at(row.row, step - row.begin);
  }
  void finish() const {
    for (std::int64_t k = 0; k < size_; ++k) {
      if (!slots_) {
        rows_.finish(index(k));
        continue;
      }
      const Slot& slot = slots_[index(k)];
      rows_.finish(rows_.sorted()[slot.first].row);
      for (std::int64_t i = slot.last; i < slot.rest_end; ++i) rows_.finish(rows_.sorted()[i].row);
    }
  }

 private:
  std::int64_t index(std::int64_t k) const { return begin_ + k * stride_; }

  const Rows<T>& rows_;
  const Slot* slots_;
  std::int64_t begin_, stride_, size_;
};

}  // namespace cpu
}  // namespace lstmcore
