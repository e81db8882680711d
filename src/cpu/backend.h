// The CPU backend of Lstm<T>: packed weights, and the threads of a call.
#pragma once

#include <cstddef>

#include "cpu/kernel.h"
#include "cpu/pack.h"
#include "cpu/threads.h"

namespace lstmcore {
namespace cpu {

template <class T>
struct BackendCall;

template <class T>
class Backend {
 public:
  Backend(const LstmSpec& spec, const LstmWeights<T>& weights, const Kernels& kernels,
          Interruption* interruption);

  const LstmSpec& spec() const { return spec_; }
  const char* isa() const { return isa_; }
  std::size_t packed_bytes() const { return packed_.bytes(); }

  // Sizes are checked by the caller. h_n may be null.
  void forward(const ForwardArgs<T>& args) const;
  std::size_t scratch_bytes(const ForwardArgs<T>& args) const;

 private:
  template <class U>
  friend void forward_all(const BackendCall<U>* calls, int n);
  double multiply_adds(const ForwardArgs<T>& args) const;
  ThreadPlan plan(const ForwardArgs<T>& args) const;

  LstmSpec spec_;
  const char* isa_;
  const KernelsOf<T>& kernels_;
  PackedWeights<T> packed_;
};

template <class T>
struct BackendCall {
  const Backend<T>* backend;
  const ForwardArgs<T>* args;
};

// Independent calls, each on a thread of its own where there are no more threads than two for each. Allocates
// nothing itself for two calls, the directions of a layer. Where it throws std::bad_alloc, nothing is
// written.
template <class T>
void forward_all(const BackendCall<T>* calls, int n);

}  // namespace cpu
}  // namespace lstmcore
