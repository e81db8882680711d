// The CPU backend of Lstm<T>: packed weights, and the threads of a call.
#pragma once

#include "cpu/kernel.h"
#include "cpu/pack.h"
#include "cpu/threads.h"

namespace lstmcore {
namespace cpu {

template <class T>
class Backend {
 public:
  Backend(const LstmSpec& spec, const LstmWeights<T>& weights, const Kernels& kernels);

  const LstmSpec& spec() const { return spec_; }
  const char* isa() const { return isa_; }
  std::size_t packed_bytes() const { return packed_.bytes(); }

  // Sizes are checked by the caller. h_n may be null.
  void forward(const ForwardArgs<T>& args) const;

 private:
  ThreadPlan plan(const ForwardArgs<T>& args, int limit) const;

  LstmSpec spec_;
  const char* isa_;
  const KernelsOf<T>& kernels_;
  PackedWeights<T> packed_;
};

}  // namespace cpu
}  // namespace lstmcore
