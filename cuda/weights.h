// The weights of a layer on its device: gates of a unit side by side, so that a thread reads them at once.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "cell.h"
#include "dtypes.h"
#include "gemm.h"
#include "plan.h"
#include "status.h"

namespace lstmcore {
namespace cuda {

// Through a stream of its own, as the default stream may take no work while another one is being captured.
template <class T>
DeviceMemory upload(const std::vector<T>& values) {
  DeviceMemory memory(values.size() * sizeof(T));
  if (values.empty()) return memory;
  const Stream stream;
  LSTMCORE_CUDA_CHECK(cudaMemcpyAsync(memory.as<void>(), values.data(), memory.bytes(),
                                      cudaMemcpyHostToDevice, stream.get()));
  LSTMCORE_CUDA_CHECK(cudaStreamSynchronize(stream.get()));
  return memory;
}

// [rows, 4H] from gate-major columns to unit-major ones: column 4 unit + gate.
template <class T>
std::vector<T> interleave_gates(const double* values, std::int64_t rows, std::int64_t H) {
  std::vector<T> result(std::size_t(rows * 4 * H));
  for (std::int64_t row = 0; row < rows; ++row)
    for (int gate = 0; gate < 4; ++gate)
      for (std::int64_t unit = 0; unit < H; ++unit)
        result[std::size_t((row * H + unit) * 4 + gate)] =
            store<T>(static_cast<Accumulator<T>>(values[(row * 4 + gate) * H + unit]));
  return result;
}

template <class T>
std::vector<T> stored(const double* values, std::int64_t size) {
  std::vector<T> result;
  result.reserve(std::size_t(values ? size : 0));
  for (std::int64_t k = 0; values && k < size; ++k)
    result.push_back(store<T>(static_cast<Accumulator<T>>(values[k])));
  return result;
}

// S as weights are stored, A as sums and biases are.
template <class S>
class LayerWeights {
 public:
  using A = Accumulator<S>;

  LayerWeights(const lstmcore_cuda_spec& spec, const lstmcore_cuda_weights& from)
      : dtype_(spec.dtype), H_(spec.num_units) {
    const std::int64_t H = spec.num_units, P = spec.num_proj ? spec.num_proj : H;
    W_ = upload(interleave_gates<S>(from.W, spec.input_size, H));
    R_ = upload(interleave_gates<S>(from.R, P, H));
    std::vector<double> bias(from.b, from.b + 4 * H);
    for (std::int64_t unit = 0; unit < H; ++unit) bias[std::size_t(2 * H + unit)] += spec.forget_bias;
    bias_ = upload(interleave_gates<A>(bias.data(), 1, H));
    if (spec.peepholes) {
      p_i_ = upload(stored<A>(from.p_i, H));
      p_f_ = upload(stored<A>(from.p_f, H));
      p_o_ = upload(stored<A>(from.p_o, H));
    }
    if (spec.num_proj) projection_ = upload(stored<S>(from.projection, H * P));
    if (!persistent_possible(spec)) return;
    host_R_.assign(from.R, from.R + P * 4 * H);
    if (spec.num_proj) host_projection_.assign(from.projection, from.projection + H * P);
  }

  const S* W() const { return W_.template as<S>(); }                    // [I, H, 4]
  const S* R() const { return R_.template as<S>(); }                    // [P, H, 4]
  const S* projection() const { return projection_.template as<S>(); }  // [H, P]

  CellArgs<A> cell(const lstmcore_cuda_spec& spec) const {
    const auto gates = Activation(spec.recurrent_activation);
    CellArgs<A> args{};
    args.activation = Activation(spec.activation);
    args.hard_gates = gates != Activation::sigmoid;
    args.gate_slope = A(hard_sigmoid_slope(gates));
    args.clip = spec.has_cell_clip;
    args.clip_limit = A(spec.cell_clip);
    args.bias = bias_.template as<A>();
    args.p_i = p_i_.template as<A>();
    args.p_f = p_f_.template as<A>();
    args.p_o = p_o_.template as<A>();
    return args;
  }

  // R, with a projection the product of both, as a persistent kernel of this tiling wants it; packed when it
  // is first asked for.
  const uint4* packed(const Tiling& tiling, int math) {
    const std::pair<bool, int> key(tiling.mma, tiling.units);
    auto found = packed_.find(key);
    if (found == packed_.end()) {
      if (!host_projection_.empty()) fold();
      found = packed_.emplace(key, upload(pack_recurrent(tiling, H_, host_R_.data(), dtype_, math))).first;
    }
    return found->second.template as<uint4>();
  }

 private:
  // Puts the product of the projection and R in the place of R. In float64, and on the device: H P 4H
  // multiply-adds would take the host seconds.
  void fold() {
    const std::int64_t P = std::int64_t(host_projection_.size()) / H_, width = 4 * H_;
    const DeviceMemory projection =
        upload(std::vector<double>(host_projection_.begin(), host_projection_.end()));
    const DeviceMemory R = upload(std::vector<double>(host_R_.begin(), host_R_.end()));
    std::vector<double> folded(std::size_t(H_ * width));
    const DeviceMemory product(folded.size() * sizeof(double));
    const Stream stream;  // which waits for no call
    plain_gemm<double>(
        {H_, width, P, projection.as<void>(), P, R.as<void>(), width, product.as<void>(), width},
        stream.get());
    LSTMCORE_CUDA_CHECK(
        cudaMemcpyAsync(folded.data(), product.as<void>(), product.bytes(), cudaMemcpyDefault, stream.get()));
    LSTMCORE_CUDA_CHECK(cudaStreamSynchronize(stream.get()));
    host_R_.assign(folded.begin(), folded.end());
    host_projection_ = {};
  }

  int dtype_;
  std::int64_t H_;
  DeviceMemory W_, R_, bias_, p_i_, p_f_, p_o_, projection_;
  // Where there may be a persistent kernel: [P, 4H], [H, 4H] once it is folded; [H, P] until then.
  std::vector<float> host_R_, host_projection_;
  std::map<std::pair<bool, int>, DeviceMemory> packed_;  // by kernel and units of a block
};

}  // namespace cuda
}  // namespace lstmcore
