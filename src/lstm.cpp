#include "lstmcore/lstm.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "checks.h"
#include "cpu/backend.h"
#include "cpu/isa.h"
#include "profile.h"

namespace lstmcore {
namespace {

void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

void check_size(const char* name, std::int64_t size) {
  if (size < 0 || size > kMaxSize)
    throw std::invalid_argument(std::string(name) + " must be in 0.." + std::to_string(kMaxSize) + ", got " +
                                std::to_string(size));
}

// 4H rows of gates, in panels that may be padded to twice the units.
template <class T>
void check_weights_size(const LstmSpec& spec) {
  const std::int64_t I = spec.input_size, H = spec.num_units, P = spec.output_size();
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() / sizeof(T) / 8;
  if ((I + P) <= kMost / std::max<std::int64_t>(1, H)) return;
  throw std::length_error("input_size = " + std::to_string(I) + ", num_units = " + std::to_string(H) +
                          " and an output width of " + std::to_string(P) +
                          " make weights that are more than memory can hold");
}

template <class T>
void check_weights(const LstmSpec& spec, const LstmWeights<T>& weights) {
  check_size("input_size", spec.input_size);
  check_size("num_units", spec.num_units);
  check_size("num_proj", spec.output_size());
  require(spec.activation >= Activation::tanh && spec.activation <= Activation::silu,
          "activation is none of lstmcore::Activation");
  check_weights_size<T>(spec);
  require(spec.recurrent_activation == Activation::sigmoid ||
              spec.recurrent_activation == Activation::hard_sigmoid ||
              spec.recurrent_activation == Activation::hard_sigmoid_keras3,
          "recurrent_activation must be sigmoid, hard_sigmoid or hard_sigmoid_keras3");
  const bool has_units = spec.num_units > 0;
  require(weights.b || !has_units, "b is missing");
  require(weights.W || !has_units || spec.input_size == 0, "W is missing");
  require(weights.R || !has_units || spec.output_size() == 0, "R is missing");
  require(!spec.peepholes || !has_units || (weights.p_i && weights.p_f && weights.p_o),
          "the spec has peepholes, but p_i, p_f or p_o is missing");
  require(!spec.num_proj || !has_units || spec.output_size() == 0 || weights.projection,
          "the spec has a projection, but its weights are missing");
}

// Called for every call: no text is made before there is an error.
template <class T>
void check_lengths(const ForwardArgs<T>& args) {
  for (std::int64_t n = 0; n < args.batch; ++n)
    if (args.lengths[n] < 0 || args.lengths[n] > args.steps)
      throw std::invalid_argument("lengths[" + std::to_string(n) + "] must be in 0.." +
                                  std::to_string(args.steps) + ", got " + std::to_string(args.lengths[n]));
}

template <class T>
void check_offsets(const ForwardArgs<T>& args) {
  require(!args.lengths, "lengths and offsets exclude each other");
  require(!args.gates.i, "gate outputs are not offered for packed rows");
  if (args.offsets[0] != 0)
    throw std::invalid_argument("offsets[0] must be 0, got " + std::to_string(args.offsets[0]));
  for (std::int64_t n = 0; n < args.batch; ++n) {
    const std::int64_t from = args.offsets[n], to = args.offsets[n + 1];
    if (to < from || to - from > args.steps)
      throw std::invalid_argument("offsets[" + std::to_string(n + 1) + "] must be " + std::to_string(from) +
                                  " to " + std::to_string(from) + " + " + std::to_string(args.steps) +
                                  " steps, got " + std::to_string(to));
  }
}

// Without these there is nothing to read or nowhere to write to; an array without elements may be null.
template <class T>
void check_pointers(const ForwardArgs<T>& args, const LstmSpec& spec) {
  const bool has_cells = args.batch > 0 && spec.num_units > 0;
  const std::int64_t steps = args.offsets ? args.offsets[args.batch] : args.steps;
  require(args.x || args.batch == 0 || steps == 0 || spec.input_size == 0, "x is missing");
  require(args.c_n || !has_cells, "c_n is missing");
  const GateOutputs<T>& gates = args.gates;
  const int given = !!gates.i + !!gates.f + !!gates.o + !!gates.ci + !!gates.co;
  require(given == 0 || given == 5, "gates: expected all of i, f, o, ci and co, or none");
}

// Of everything that a call reads, writes and needs meanwhile, with room to spare: no size computed from
// these overflows.
void check_addressable(std::int64_t T, std::int64_t N, const LstmSpec& spec) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() / 64;
  const std::int64_t width = std::max({std::int64_t{1}, spec.input_size, spec.num_units, spec.output_size()});
  std::int64_t values;
  if (!__builtin_mul_overflow(T, N, &values) && !__builtin_mul_overflow(values, width, &values) &&
      values <= kMost)
    return;
  throw std::length_error("steps = " + std::to_string(T) + " and batch = " + std::to_string(N) +
                          " are more than memory can hold: with width " + std::to_string(width) +
                          " there may be " + std::to_string(kMost) + " values");
}

template <class T>
void check_workspaces(const ForwardCall<T>* calls, int n) {
  for (int k = 1; k < n; ++k)
    for (int j = 0; j < k; ++j)
      require(!calls[k].args.workspace || calls[k].args.workspace != calls[j].args.workspace,
              "calls: two of them have the same workspace");
}

template <class T>
profile::CallShape call_shape(const cpu::Backend<T>& backend, const ForwardArgs<T>& args) {
  std::int64_t row_steps = args.steps * args.batch;
  if (args.lengths) row_steps = std::accumulate(args.lengths, args.lengths + args.batch, std::int64_t{0});
  if (args.offsets) row_steps = args.offsets[args.batch];
  return {args.steps,
          args.batch,
          row_steps,
          &backend.spec(),
          sizeof(T) == sizeof(float) ? "float32" : "float64",
          backend.isa(),
          args.threads > 0 ? std::min(args.threads, num_threads()) : num_threads(),
          static_cast<double>(backend.packed_bytes())};
}

}  // namespace

template <class T>
Lstm<T>::Lstm(const LstmSpec& spec, const LstmWeights<T>& weights, const std::string& isa,
              Interruption* interruption) {
  check_weights(spec, weights);
  backend_ = std::make_unique<const cpu::Backend<T>>(spec, weights, cpu::kernels_named(isa), interruption);
}
template <class T>
Lstm<T>::~Lstm() = default;
template <class T>
Lstm<T>::Lstm(Lstm&&) noexcept = default;
template <class T>
Lstm<T>& Lstm<T>::operator=(Lstm&&) noexcept = default;

template <class T>
const LstmSpec& Lstm<T>::spec() const {
  return backend_->spec();
}
template <class T>
const char* Lstm<T>::isa() const {
  return backend_->isa();
}
template <class T>
std::size_t Lstm<T>::packed_bytes() const {
  return backend_->packed_bytes();
}

template <class T>
void Lstm<T>::step(std::int64_t N, const T* x, const T* c, const T* h, T* c_out, T* h_out,
                   Interruption* interruption) const {
  require(c_out || N <= 0 || spec().num_units == 0, "c_out is missing");
  require(h_out || N <= 0 || spec().output_size() == 0, "h_out is missing");
  ForwardArgs<T> args;
  args.steps = 1;
  args.batch = N;
  args.x = {x, 0, spec().input_size};
  args.c0 = c;
  args.h0 = h;
  args.y = {h_out, 0, spec().output_size()};
  args.c_n = c_out;
  args.interruption = interruption;
  forward(args);
}

template <class T>
void check_rows(const ForwardArgs<T>& args) {
  require(args.steps >= 0 && args.batch >= 0, "steps and batch must not be negative");
  if (args.lengths) check_lengths(args);
  if (args.offsets) check_offsets(args);
}

template <class T>
void Lstm<T>::check_call(const ForwardArgs<T>& args) const {
  check_rows(args);
  check_addressable(args.steps, args.batch, spec());
  require(!args.gates.i || !spec().num_proj, "gate outputs are not offered with a projection");
  check_pointers(args, spec());
}

template <class T>
void Lstm<T>::forward(const ForwardArgs<T>& args) const {
  check_call(args);
  if (!profile::enabled) return backend_->forward(args);
  const profile::Call call(call_shape(*backend_, args));
  backend_->forward(args);
}

template <class T>
std::size_t Lstm<T>::workspace_bytes(const ForwardArgs<T>& args) const {
  check_rows(args);
  check_addressable(args.steps, args.batch, spec());
  return backend_->scratch_bytes(args);
}

template <class T>
void forward_all(const ForwardCall<T>* calls, int n) {
  for (int k = 0; k < n; ++k) {
    require(calls[k].lstm, "calls: lstm is missing");
    calls[k].lstm->check_call(calls[k].args);
  }
  check_workspaces(calls, n);
  cpu::BackendCall<T> two[2];
  std::vector<cpu::BackendCall<T>> many(n > 2 ? static_cast<std::size_t>(n) : 0);
  cpu::BackendCall<T>* const backend_calls = n > 2 ? many.data() : two;
  for (int k = 0; k < n; ++k) backend_calls[k] = {calls[k].lstm->backend_.get(), &calls[k].args};
  std::vector<std::optional<profile::Call>> profiled(profile::enabled ? static_cast<std::size_t>(n) : 0);
  for (std::size_t k = 0; k < profiled.size(); ++k)
    profiled[k].emplace(call_shape(*backend_calls[k].backend, *backend_calls[k].args));
  cpu::forward_all(backend_calls, n);
}

template void check_rows(const ForwardArgs<float>&);
template void check_rows(const ForwardArgs<double>&);
template class Lstm<float>;
template class Lstm<double>;
template void forward_all(const ForwardCall<float>*, int);
template void forward_all(const ForwardCall<double>*, int);

}  // namespace lstmcore
