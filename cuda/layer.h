// One LSTM layer of one direction on a device.
#pragma once

#include "context.h"
#include "lstmcore/cuda_abi.h"

namespace lstmcore {
namespace cuda {

class Layer {
 public:
  virtual ~Layer() = default;
  virtual Context& context() = 0;
  // Throws Error and std::invalid_argument before anything is enqueued, Error later.
  virtual void forward(const lstmcore_cuda_forward& args) = 0;
};

Layer* make_layer(Context& context, const lstmcore_cuda_spec& spec, const lstmcore_cuda_weights& weights);

}  // namespace cuda
}  // namespace lstmcore
