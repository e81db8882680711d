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

  std::int64_t length(std::int64_t n) const { return args_.lengths ? args_.lengths[n] : args_.steps; }

  Row<T> at(std::int64_t n, std::int64_t step) const {
    const std::int64_t t = time(n, step);
    Row<T> row;
    row.x = args_.x.at(t, n);
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
    for (std::int64_t t = length; t < args_.steps; ++t) {
      if (args_.y) std::fill_n(args_.y.at(t, n), P_, T(0));
      if (args_.c_seq) std::fill_n(args_.c_seq.at(t, n), H_, T(0));
    }
  }

 private:
  std::int64_t time(std::int64_t n, std::int64_t step) const {
    return args_.reverse ? length(n) - 1 - step : step;
  }
  const T* initial(const T* state, std::int64_t n, std::int64_t width) const {
    return state ? state + n * width : scratch_.zeros;
  }
  T* hidden(std::int64_t n, std::int64_t step) const {
    return args_.y ? args_.y.at(time(n, step), n) : scratch_.hidden + ((step & 1) * args_.batch + n) * P_;
  }
  T* cell(std::int64_t n, std::int64_t step) const {
    return args_.c_seq ? args_.c_seq.at(time(n, step), n) : args_.c_n + n * H_;
  }

  const ForwardArgs<T>& args_;
  std::int64_t H_, P_;
  const Scratch<T>& scratch_;
};

// Every `stride`-th of the rows from `begin` on, longest first: those still running at a step are the first
// ones.
template <class T>
class RowSet {
 public:
  // `order` has the rows by descending length; null: all are equally long.
  RowSet(const Rows<T>& rows, const std::int64_t* order, std::int64_t begin, std::int64_t stride,
         std::int64_t size)
      : rows_(rows), order_(order), begin_(begin), stride_(stride), size_(size) {}

  std::int64_t size() const { return size_; }
  std::int64_t index(std::int64_t k) const {
    const std::int64_t position = begin_ + k * stride_;
    return order_ ? order_[position] : position;
  }
  std::int64_t length(std::int64_t k) const { return rows_.length(index(k)); }
  std::int64_t longest() const { return size_ ? length(0) : 0; }
  // How many rows run at `step`.
  std::int64_t running(std::int64_t step) const {
    if (!order_) return step < longest() ? size_ : 0;
    std::int64_t low = 0, high = size_;  // rows before low run, rows from high on do not
    while (low < high) {
      const std::int64_t middle = (low + high) / 2;
      if (length(middle) > step)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
  Row<T> at(std::int64_t k, std::int64_t step) const { return rows_.at(index(k), step); }

 private:
  const Rows<T>& rows_;
  const std::int64_t* order_;
  std::int64_t begin_, stride_, size_;
};

}  // namespace cpu
}  // namespace lstmcore
