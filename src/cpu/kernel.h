// What one ISA level offers: a table of pointers to its kernels, and the packed layout they read.
//
// Packed weights, with L = lanes of the level. A panel is L units and all four of their gates, so one
// register tile owns every gate of its units and the cell update never leaves registers:
//
//   W          [panel][k = 0..I)[gate i, j, f, o][L]
//   R          [panel][k = 0..P)[gate i, j, f, o][L]
//   bias       [panel][gate][L]                          forget bias added to f
//   peepholes  [panel][p_i, p_f, p_o][L]
//   projection [panel][k = 0..H)[4][L]                   4 L outputs a panel
//
// Lanes past the last unit or output hold zeros, so there is no remainder loop over units.
#pragma once

#include <cstdint>

#include "lstmcore/lstm.h"

namespace lstmcore {
namespace cpu {

constexpr int kGates = 4;

// One batch row at one time step. h_out may not overlap any h of the same step; c_out may be c.
template <class T>
struct Row {
  const T* x;                // [I]
  T* z;                      // [panels, 4, L]: x W + b, where it is computed ahead of the step
  const T* h;                // [P]
  const T* c;                // [H]
  T* c_out;                  // [H]
  T* h_out;                  // [H], before any projection
  T* projected;              // [P], where the spec has a projection
  std::int64_t gate_offset;  // of this row in each array of GateOutputs
};

template <class T>
struct StepArgs {
  std::int64_t I, H, P;
  const T* W;
  const T* R;
  const T* bias;
  const T* peepholes;  // null: none
  bool project;
  const T* projection;
  const T* projection_bias;  // [4 L] zeros, or NaN for a NaN proj_clip
  Activation activation, recurrent_activation;
  bool clip_cell, clip_projection;
  T cell_clip, proj_clip;
  GateOutputs<T> gates;
};

// Panels [begin, end), in ascending or descending order. Nobody can tell the order by the results.
struct Panels {
  std::int64_t begin, end;
  bool descending;
};

template <class T>
struct KernelsOf {
  int lanes;
  int tile_rows;  // rows that one register tile holds
  // Each works on rows [0, n) and the units of some panels.
  using Run = void (*)(const StepArgs<T>&, const Row<T>* rows, std::int64_t n, const Panels& panels);
  Run step;            // gates and state update, from x
  Run input_gates;     // z = x W + b
  Run recurrent_step;  // gates and state update, from z: bit for bit what `step` gives
  Run project;         // projected = clip(h_out projection); panels are those of the projection
  void (*activate)(Activation, const T* in, T* out, std::int64_t n);
  // Does at least n fused multiply-adds in registers, as fast as the level can, and returns how many.
  std::int64_t (*multiply_adds)(std::int64_t n);
};

struct Kernels {
  const char* isa;
  KernelsOf<float> f32;
  KernelsOf<double> f64;
};

template <class T>
const KernelsOf<T>& kernels_of(const Kernels& kernels);
template <>
inline const KernelsOf<float>& kernels_of<float>(const Kernels& kernels) {
  return kernels.f32;
}
template <>
inline const KernelsOf<double>& kernels_of<double>(const Kernels& kernels) {
  return kernels.f64;
}

}  // namespace cpu
}  // namespace lstmcore
