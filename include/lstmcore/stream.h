// Streams: layers of LSTMs that keep their state between calls, for inputs that arrive step by step.
//
// Sizes as in lstm.h; S is the number of values in the state of one row. Every call gives the bits that
// Lstm::forward gives for the whole sequence, however it is cut into steps and pushes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "lstmcore/lstm.h"

namespace lstmcore {

// The output of each layer is the input of the next. Layers are shared, and a layer may stand twice.
template <class T>
using Layers = std::vector<std::shared_ptr<const Lstm<T>>>;

// N rows that advance together. A copy goes on by itself, on the same layers. Not safe to share between
// threads: a call that is not const needs the stream alone.
template <class T>
class Stream {
 public:
  // The state starts as zeros. Throws std::invalid_argument for no layers, a null one, layers of different
  // widths and negative rows; std::length_error for so many rows that sizes overflow; std::bad_alloc.
  Stream(Layers<T> layers, std::int64_t rows);
  Stream(const Stream& other);
  Stream(Stream&&) noexcept = default;
  Stream& operator=(Stream&&) noexcept = default;

  const Layers<T>& layers() const { return layers_; }
  std::int64_t rows() const { return rows_; }
  std::int64_t input_size() const { return layers_.front()->spec().input_size; }
  std::int64_t output_size() const { return layers_.back()->spec().output_size(); }
  std::int64_t state_size() const { return state_size_; }

  // x [N, I] -> out [N, P], both dense; they may not overlap. The first step takes the memory that later ones
  // use again. Where it throws (std::bad_alloc, Interrupted), the state is what it was.
  void step(const T* x, T* out, Interruption* interruption = nullptr);

  // x [T, N, I] -> out [T, N, P]; they may not overlap. Where it throws, the state is what it was. Takes
  // memory where no push before was as long, up to a block of steps.
  void push(std::int64_t steps, SequenceView<const T> x, SequenceView<T> out,
            Interruption* interruption = nullptr);

  // The state of one row as S values: c [H] and h [P] of the first layer, then of the next.
  void read_state(std::int64_t row, T* values) const;
  void write_state(std::int64_t row, const T* values);
  void reset();  // zeros

  // Another number of rows, whose state is to be written before the next step. Allocates only beyond the
  // largest number so far.
  void set_rows(std::int64_t rows);

  // Gives back what step and push use again (it counts in workspace_bytes(), the state does not); the next
  // call allocates. Returns how many bytes that was.
  std::size_t trim();

 private:
  // Where a layer's [N, H] of c or [N, P] of h starts in a state; `offset` is in values of one row.
  T* at(std::vector<T>& state, std::int64_t offset) { return state.data() + rows_ * offset; }
  void push_block(std::int64_t steps, SequenceView<const T> x, SequenceView<T> out, std::vector<T>& from,
                  std::vector<T>& to, Interruption* interruption);
  ForwardArgs<T> forward_args(std::int64_t steps, SequenceView<const T> x, const LstmSpec& spec,
                              std::int64_t offset, std::vector<T>& from, std::vector<T>& to);
  std::int64_t block_steps() const;

  Layers<T> layers_;
  std::int64_t rows_ = 0, state_size_ = 0, inner_size_ = 0;
  // A call reads one and writes the other; they are swapped once it has succeeded.
  std::vector<T> state_, next_state_;
  struct Scratch {
    Workspace layers;    // of one after the other
    Workspace inner[2];  // what they hand on within a push, in turn
  };
  std::unique_ptr<Scratch> scratch_ = std::make_unique<Scratch>();
};

}  // namespace lstmcore
