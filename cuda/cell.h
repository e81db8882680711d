// One unit of one batch row, as both the stepwise and the persistent kernels finish it.
#pragma once

#include "dtypes.h"
#include "gates.h"

namespace lstmcore {
namespace cuda {

// What of a layer the cell equations read; A is float or double. Device memory.
template <class A>
struct CellArgs {
  Activation activation;
  bool hard_gates;
  A gate_slope;
  bool clip;
  A clip_limit;
  const A* bias;                                           // [H, 4]: i, j, f with the forget bias, o
  const A *p_i = nullptr, *p_f = nullptr, *p_o = nullptr;  // [H] each, or null
};

// The four pre-activations of a unit, read at once.
template <class A>
struct alignas(4 * sizeof(A)) Pre {
  A i, j, f, o;
};

template <class A>
LSTMCORE_INLINE Pre<A> operator+(Pre<A> a, Pre<A> b) {
  return {a.i + b.i, a.j + b.j, a.f + b.f, a.o + b.o};
}

template <class A>
LSTMCORE_INLINE CellOptions<A> cell_options(const CellArgs<A>& args, std::int64_t unit) {
  CellOptions<A> options{};
  options.activation = args.activation;
  options.hard_gates = args.hard_gates;
  options.gate_slope = args.gate_slope;
  options.clip = args.clip;
  options.clip_limit = args.clip_limit;
  options.peepholes = args.p_i != nullptr;
  if (options.peepholes) {
    options.p_i = args.p_i[unit];
    options.p_f = args.p_f[unit];
    options.p_o = args.p_o[unit];
  }
  return options;
}

// `pre` with the bias inside.
template <class A>
LSTMCORE_INLINE CellState<A> run_cell(const CellOptions<A>& options, Pre<A> pre, A c) {
  Gates<A> gates{pre.i, pre.j, pre.f, pre.o};
  return lstm_cell(gates, c, options);
}

}  // namespace cuda
}  // namespace lstmcore
