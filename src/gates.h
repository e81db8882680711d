// The LSTM cell equations (include/lstmcore/lstm.h states them), for any number type: one lane is one unit.
#pragma once

#include "activations.h"

namespace lstmcore {
namespace {

// Pre-activations going in, with the forget bias already inside f; what the gates let through coming out.
template <class V>
struct Gates {
  V i, j, f, o;
};

template <class V>
struct CellOptions {
  Activation activation;
  bool hard_gates;  // clip(gate_slope x + 0.5, 0, 1) for the sigmoids of i, f and o
  V gate_slope;
  bool peepholes;
  V p_i, p_f, p_o;  // used where peepholes
  bool clip;
  V clip_limit;  // used where clip
};

template <class V>
struct CellState {
  V c, h;
  V co;  // act(c)
};

template <class V>
LSTMCORE_INLINE V open_gate(const CellOptions<V>& options, V x) {
  return options.hard_gates ? hard_sigmoid(x, options.gate_slope) : sigmoid(x);
}

// Updates `gates` in place from pre-activations to gate values. h is before any projection.
template <class V>
LSTMCORE_INLINE CellState<V> lstm_cell(Gates<V>& gates, V c, const CellOptions<V>& options) {
  if (options.peepholes) {
    gates.i = Num<V>::fma(options.p_i, c, gates.i);
    gates.f = Num<V>::fma(options.p_f, c, gates.f);
  }
  gates.i = open_gate(options, gates.i);
  gates.f = open_gate(options, gates.f);
  gates.j = activate(options.activation, gates.j);
  CellState<V> state;
  state.c = Num<V>::fma(gates.f, c, gates.i * gates.j);
  if (options.clip) state.c = clip(state.c, -options.clip_limit, options.clip_limit);
  if (options.peepholes) gates.o = Num<V>::fma(options.p_o, state.c, gates.o);
  gates.o = open_gate(options, gates.o);
  state.co = activate(options.activation, state.c);
  state.h = gates.o * state.co;
  return state;
}

}  // namespace
}  // namespace lstmcore
