// One call over time steps: a request from Python, checked, and its results.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "arrays.h"
#include "dense.h"
#include "fastcall.h"
#include "lstmcore/lstm.h"

namespace lstmcore {
namespace python {

struct SequenceRequest {
  py::object x, c0, h0, lengths, offsets, out, c_out;
  bool time_major, reverse;
  py::object threads;
};

struct SequenceWidths {
  py::ssize_t I, H, P;  // of x, c_out and out
};

// The checked arrays of a request but for its states, kept alive, and where the outputs go.
template <class T>
class SequenceArrays {
 public:
  SequenceArrays(const SequenceWidths& widths, const SequenceRequest& request)
      : dtype_(py::dtype::of<T>()), H_(widths.H), P_(widths.P) {
    if (!request.threads.is_none()) args_.threads = checked_threads(request.threads.ptr());
    args_.reverse = request.reverse;
    if (request.offsets.is_none())
      take_padded(request, widths.I);
    else
      take_packed(request, widths.I);
  }

  ForwardArgs<T> args(Interruption* interruption = nullptr) const {
    ForwardArgs<T> args = args_;
    args.interruption = interruption;
    return args;
  }
  const py::dtype& dtype() const { return dtype_; }
  const py::array& y() const { return y_; }

  // After all inputs, which the outputs may not overlap.
  void take_outputs(const SequenceRequest& request, bool keep_outputs = true) {
    if (keep_outputs) {
      y_ = take_output(request.out, "out", P_);
      args_.y = view_of(y_);
    }
    if (request.c_out.is_none()) return;
    c_out_ = take_output(request.c_out, "c_out", H_);
    if (keep_outputs) check_no_overlap(c_out_, "c_out", y_, "out");
    args_.c_seq = view_of(c_out_);
  }

  void check_outputs_apart(const py::array& input, const char* name) const {
    if (args_.y) check_no_overlap(y_, "out", input, name);
    if (args_.c_seq) check_no_overlap(c_out_, "c_out", input, name);
  }

 protected:
  const T* take_input(const py::object& value, const char* name, const Shape& shape) {
    inputs_.emplace_back(checked_input(value, name, dtype_, shape), name);
    return data<T>(inputs_.back().first);
  }

  // Copied, as another thread may change the array once the GIL is released.
  void take_indices(const py::object& value, const char* name, py::ssize_t size) {
    const py::array indices = checked_input(value, name, py::dtype::of<std::int64_t>(), {size});
    inputs_.emplace_back(indices, name);
    indices_.assign(data<std::int64_t>(indices), data<std::int64_t>(indices) + indices.size());
  }

  void take_padded(const SequenceRequest& request, py::ssize_t I) {
    const T* const x = take_input(request.x, "x", {kAnySize, kAnySize, I});
    const py::array& array = inputs_.back().first;
    outer_ = {array.shape(0), array.shape(1)};
    time_major_ = request.time_major;
    args_.steps = outer_[time_major_ ? 0 : 1];
    args_.batch = outer_[time_major_ ? 1 : 0];
    args_.x = {x, time_major_ ? args_.batch * I : I, time_major_ ? I : args_.steps * I};
    if (request.lengths.is_none()) return;
    take_indices(request.lengths, "lengths", args_.batch);
    args_.lengths = indices_.data();
  }

  void take_packed(const SequenceRequest& request, py::ssize_t I) {
    if (!request.lengths.is_none()) throw py::value_error("lengths and offsets exclude each other");
    args_.x = {take_input(request.x, "x", {kAnySize, I}), I, 0};
    outer_ = {inputs_.back().first.shape(0)};
    take_indices(request.offsets, "offsets", kAnySize);
    if (indices_.empty()) throw py::value_error("offsets: expected one more entry than rows, got none");
    if (indices_.front() != 0 || indices_.back() != outer_[0])
      throw py::value_error("offsets: expected to begin with 0 and end with " + std::to_string(outer_[0]) +
                            ", the length of x, got " + std::to_string(indices_.front()) + " and " +
                            std::to_string(indices_.back()));
    args_.batch = static_cast<std::int64_t>(indices_.size()) - 1;
    for (std::size_t n = 0; n + 1 < indices_.size(); ++n) {
      if (indices_[n + 1] < indices_[n])
        throw py::value_error("offsets must not decrease, got " + std::to_string(indices_[n + 1]) +
                              " after " + std::to_string(indices_[n]));
      args_.steps = std::max(args_.steps, indices_[n + 1] - indices_[n]);
    }
    args_.offsets = indices_.data();
  }

  py::array take_output(const py::object& value, const char* name, py::ssize_t width) {
    Shape shape = outer_;
    shape.push_back(width);
    if (value.is_none()) return new_array(dtype_, shape);
    py::array output = checked_output(value, name, dtype_, shape);
    for (const auto& [input, input_name] : inputs_) check_no_overlap(output, name, input, input_name);
    return output;
  }

  SequenceView<T> view_of(py::array& array) const {
    constexpr auto size = static_cast<py::ssize_t>(sizeof(T));
    if (args_.offsets) return {mutable_data<T>(array), array.strides(0) / size, 0};
    const py::ssize_t first = array.strides(0) / size, second = array.strides(1) / size;
    return {mutable_data<T>(array), time_major_ ? first : second, time_major_ ? second : first};
  }

  ForwardArgs<T> args_;
  py::dtype dtype_;
  py::ssize_t H_, P_;
  bool time_major_ = false;
  Shape outer_;  // of x and the outputs, without their last axis
  std::vector<std::pair<py::array, const char*>> inputs_;
  std::vector<std::int64_t> indices_;
  py::array y_, c_out_;
};

// One layer's call: with its states.
template <class T>
class SequenceCall : public SequenceArrays<T> {
 public:
  SequenceCall(const Lstm<T>& lstm, const SequenceRequest& request)
      : SequenceArrays<T>({lstm.spec().input_size, lstm.spec().num_units, lstm.spec().output_size()},
                          request) {
    ForwardArgs<T>& args = this->args_;
    if (!request.c0.is_none()) args.c0 = this->take_input(request.c0, "c0", {args.batch, this->H_});
    if (!request.h0.is_none()) args.h0 = this->take_input(request.h0, "h0", {args.batch, this->P_});
    this->take_outputs(request);
    c_n_ = new_matrix(this->dtype_, args.batch, this->H_);
    h_n_ = new_matrix(this->dtype_, args.batch, this->P_);
    args.c_n = mutable_data<T>(c_n_);
    args.h_n = mutable_data<T>(h_n_);
  }

  ForwardCall<T> with(const Lstm<T>& lstm, Interruption* interruption) const {
    return {&lstm, this->args(interruption)};
  }
  py::tuple result() const { return py::make_tuple(this->y_, c_n_, h_n_); }

 private:
  py::array c_n_, h_n_;
};

}  // namespace python
}  // namespace lstmcore
