// Canonical weights (include/lstmcore/lstm.h) to the packed layout (kernel.h draws it).
#pragma once

#include "cpu/aligned.h"
#include "cpu/kernel.h"

namespace lstmcore {
namespace cpu {

template <class T>
struct PackedWeights {
  std::int64_t panels = 0;             // of units
  std::int64_t projection_panels = 0;  // of outputs, 4 * lanes each
  AlignedArray<T> W, R, bias, peepholes, projection, projection_bias;

  std::size_t bytes() const {
    return W.bytes() + R.bytes() + bias.bytes() + peepholes.bytes() + projection.bytes() +
           projection_bias.bytes();
  }
};

// Throws std::bad_alloc, also where a size overflows, and Interrupted.
template <class T>
PackedWeights<T> pack(const LstmSpec& spec, const LstmWeights<T>& weights, int lanes,
                      Interruption* interruption);

}  // namespace cpu
}  // namespace lstmcore
