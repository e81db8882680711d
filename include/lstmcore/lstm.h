// The public C++ API: an LSTM layer over memory that the caller owns.
//
// Sizes: T time steps, N batch rows, I inputs, H units, P outputs (the projection's width, or H without one).
// Gates are in TensorFlow's order i, j, f, o (input, new input, forget, output). With z = x W + h R + b:
//
//   i = sigmoid(z_i + p_i c)        j = act(z_j)        f = sigmoid(z_f + forget_bias + p_f c)
//   c' = clip(f c + i j)            o = sigmoid(z_o + p_o c')
//   h' = o act(c'), or clip(o act(c') projection)
//
// Hochreiter & Schmidhuber 1997; peepholes and projection as in Sak, Senior & Beaufays 2014.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "lstmcore/activation.h"
#include "lstmcore/interruption.h"
#include "lstmcore/runtime.h"
#include "lstmcore/version.h"

namespace lstmcore {

namespace cpu {
template <class T>
class Backend;
}

// Limit of every size of a spec: far above any real model, and a product of two of them does not overflow.
constexpr std::int64_t kMaxSize = std::int64_t{1} << 30;

struct LstmSpec {
  std::int64_t input_size = 0;           // I
  std::int64_t num_units = 0;            // H
  std::optional<std::int64_t> num_proj;  // P; none: no projection and P = H
  bool peepholes = false;
  double forget_bias = 1.0;
  std::optional<double> cell_clip;  // limit on |c|: min with +limit first, then max with -limit; NaN poisons
  std::optional<double> proj_clip;  // the same for the projected h; ignored without a projection
  Activation activation = Activation::tanh;
  Activation recurrent_activation = Activation::sigmoid;  // in place of the sigmoids; or a hard_sigmoid

  std::int64_t output_size() const { return num_proj.value_or(num_units); }
};

// Row-major and dense; only read by the constructor of Lstm, which packs a copy.
template <class T>
struct LstmWeights {
  const T* W = nullptr;    // [I, 4H]
  const T* R = nullptr;    // [P, 4H]
  const T* b = nullptr;    // [4H]
  const T* p_i = nullptr;  // [H] each, where the spec has peepholes
  const T* p_f = nullptr;
  const T* p_o = nullptr;
  const T* projection = nullptr;  // [H, P] where the spec has one
};

// A [T, N, width] array of which the innermost axis is dense; strides in elements make it time-major,
// batch-major, or a slice of a wider array.
template <class T>
struct SequenceView {
  T* data = nullptr;
  std::int64_t step_stride = 0;
  std::int64_t row_stride = 0;

  T* at(std::int64_t t, std::int64_t n) const { return data + t * step_stride + n * row_stride; }
  explicit operator bool() const { return data != nullptr; }
};

// What the gates were at each step, each a dense [T, N, H] array.
template <class T>
struct GateOutputs {
  T* i = nullptr;   // after the sigmoid
  T* f = nullptr;   // after the sigmoid, forget bias included
  T* o = nullptr;   // after the sigmoid
  T* ci = nullptr;  // act(z_j)
  T* co = nullptr;  // act(c')
};

// Scratch memory that calls may share, one call at a time; it grows as they need. A default one holds
// nothing.
class Workspace {
 public:
  Workspace() = default;
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // At least `bytes`, aligned to 64; what was there before is lost. Throws std::bad_alloc, and keeps what it
  // has.
  void* reserve(std::size_t bytes);
  std::size_t release();  // gives all back; returns how many bytes that was
  std::size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// One call over T steps. No two outputs may overlap; c_n may be c0 and h_n may be h0, nothing else may alias.
// x and c_n are always wanted, unless they would have no elements; every other pointer may be null.
template <class T>
struct ForwardArgs {
  std::int64_t steps = 0;                 // T
  std::int64_t batch = 0;                 // N
  SequenceView<const T> x;                // [T, N, I]
  const T* c0 = nullptr;                  // [N, H]; null: zeros
  const T* h0 = nullptr;                  // [N, P]; null: zeros
  const std::int64_t* lengths = nullptr;  // [N] in 0..T; null: every row has T steps
  // [N + 1], not decreasing, or null. Packed rows: x, y and c_seq are [offsets[N], width] arrays in which row
  // n has offsets[n] to offsets[n + 1]; only their step_stride is read. T is the longest row, lengths is
  // null.
  const std::int64_t* offsets = nullptr;
  bool reverse = false;  // run each row from its last step to its first; outputs keep their positions

  SequenceView<T> y;      // [T, N, P]; may be empty. Zero from a row's length on
  SequenceView<T> c_seq;  // [T, N, H]; may be empty. Zero from a row's length on
  GateOutputs<T> gates;   // all set or all null; never with a projection. Untouched from a row's length on
  T* c_n = nullptr;       // [N, H] state after each row's last step; always wanted
  T* h_n = nullptr;       // [N, P]; null: not wanted

  int threads = 0;                       // at most this many; 0: num_threads()
  Interruption* interruption = nullptr;  // asked whether to go on; null: the call runs to its end
  Workspace* workspace = nullptr;        // null: scratch memory that the process keeps (runtime.h, trim)
};

template <class T>
struct ForwardCall;

// Immutable after construction and safe to share between threads. T is float or double.
//
// For one ISA level each output element is a fixed sequence of operations, so results are bit for bit the
// same for any batch, any number of threads and any split of a sequence into calls (but for the sign and
// payload of a NaN).
template <class T>
class Lstm {
 public:
  // Packs the weights for an ISA level, by default the best of this CPU or LSTMCORE_FORCE_ISA.
  // Throws std::invalid_argument (sizes, missing weights), std::length_error (sizes whose product overflows),
  // std::runtime_error (ISA), std::bad_alloc, Interrupted.
  Lstm(const LstmSpec& spec, const LstmWeights<T>& weights, const std::string& isa = current_isa(),
       Interruption* interruption = nullptr);
  ~Lstm();
  Lstm(Lstm&&) noexcept;
  Lstm& operator=(Lstm&&) noexcept;

  const LstmSpec& spec() const;
  const char* isa() const;
  std::size_t packed_bytes() const;

  // One time step: x [N, I], c [N, H], h [N, P] -> c_out [N, H], h_out [N, P]. c_out may be c; h_out may not
  // be h. c and h may be null for zeros. Throws what forward throws, and for a missing output.
  void step(std::int64_t N, const T* x, const T* c, const T* h, T* c_out, T* h_out,
            Interruption* interruption = nullptr) const;

  // All time steps of a batch. Throws std::invalid_argument, before anything is written, for negative sizes,
  // lengths outside 0..T, offsets that are no offsets, a missing x or c_n, or gate outputs with a projection
  // or packed rows, or some of the five only; std::length_error for sizes whose product overflows;
  // std::bad_alloc where its scratch memory cannot be had. Throws Interrupted with its outputs half written.
  void forward(const ForwardArgs<T>& args) const;

  // The most that such a call takes of its workspace: once that is reserved, it allocates nothing.
  std::size_t workspace_bytes(const ForwardArgs<T>& args) const;

 private:
  template <class U>
  friend void forward_all(const ForwardCall<U>* calls, int n);
  void check_call(const ForwardArgs<T>& args) const;
  std::unique_ptr<const cpu::Backend<T>> backend_;
};

// Independent calls, such as the two directions of a bidirectional layer: side by side where there are
// threads for them, with the results of one after the other. No output of one may overlap anything of
// another, and `interruption` is the same for all. Throws what forward throws, and std::invalid_argument for
// two calls with one workspace, before anything is written.
template <class T>
struct ForwardCall {
  const Lstm<T>* lstm = nullptr;
  ForwardArgs<T> args;
};
template <class T>
void forward_all(const ForwardCall<T>* calls, int n);

}  // namespace lstmcore
