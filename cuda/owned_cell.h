// One (row, unit) of a persistent kernel, in the hands of the thread that owns it: its state, where it reads
// and writes, and where it is kept from step to step.
#pragma once

#include "persistent.h"
#include "primitives.h"

namespace lstmcore {
namespace cuda {
namespace {

// What the cells of a unit share; the unit may be one that is not there.
__device__ __forceinline__ CellOptions<float> unit_options(const PersistentArgs& args, int unit) {
  return unit < args.H ? cell_options(args.cell, unit) : CellOptions<float>{};
}
__device__ __forceinline__ Pre<float> unit_bias(const PersistentArgs& args, int unit) {
  return unit < args.H ? reinterpret_cast<const Pre<float>*>(args.cell.bias)[unit] : Pre<float>{};
}

// Steps of row n that are left from this launch's first position on; n may be one that is not there.
__device__ __forceinline__ int steps_left(const PersistentArgs& args, int n) {
  return args.lengths && n < args.N ? int(args.lengths[n] - args.first) : int(args.T);
}

template <class S>
struct OwnedCell {
  int n, unit;
  bool real;  // has a place in the batch and in the layer
  float c = 0, h = 0;

  __device__ __forceinline__ OwnedCell(const PersistentArgs& args, int n, int unit)
      : n(n), unit(unit), real(n < args.N && unit < args.H) {}

  __device__ __forceinline__ std::int64_t at(const PersistentArgs& args) const { return n * args.H + unit; }

  __device__ __forceinline__ void start(const PersistentArgs& args) {
    if (!real) return;
    if (args.c0) c = args.c0[at(args)];
    if (args.h0) h = cuda::load(static_cast<const S*>(args.h0)[at(args)]);
  }

  __device__ __forceinline__ const Pre<float>* projected(const PersistentArgs& args,
                                                         std::int64_t position) const {
    return args.projected + position * args.projected_step + n * args.projected_row + unit;
  }

  // `pre` with the bias inside. Past the row's end the state stays and the outputs are 0.
  __device__ __forceinline__ void step(const PersistentArgs& args, const CellOptions<float>& options,
                                       std::int64_t position, bool runs, Pre<float> pre) {
    if (!real) return;
    if (runs) {
      const CellState<float> state = run_cell(options, pre, c);
      c = state.c;
      h = cuda::load(store<S>(state.h));
    }
    if (args.y)
      static_cast<S*>(args.y)[position * args.y_step + n * args.y_row + unit] = store<S>(runs ? h : 0.0f);
    if (args.c_seq) args.c_seq[position * args.c_step + n * args.c_row + unit] = runs ? c : 0.0f;
  }

  __device__ __forceinline__ void finish(const PersistentArgs& args) const {
    if (!real) return;
    args.c_n[at(args)] = c;
    static_cast<S*>(args.h_n)[at(args)] = store<S>(h);
  }
};

// Cells that are kept in shared memory, [cells][kThreads], in places that no other thread reads.
struct CellPlaces {
  Pre<float>* inputs;  // x W
  float2* states;      // c, h

  template <class Cell>
  __device__ __forceinline__ void put(const Cell& cell, int place) const {
    states[place] = float2{cell.c, cell.h};
  }
  template <class Cell>
  __device__ __forceinline__ void take(Cell& cell, int place) const {
    cell.c = states[place].x;
    cell.h = states[place].y;
  }
  // There for the thread after wait_copies().
  template <class Cell>
  __device__ __forceinline__ void fetch_input(const PersistentArgs& args, const Cell& cell,
                                              std::int64_t position, int place) const {
    if (cell.real) start_copy(reinterpret_cast<float4*>(&inputs[place]), cell.projected(args, position));
  }
  template <class Cell>
  __device__ __forceinline__ Pre<float> input(const Cell& cell, int place) const {
    return cell.real ? inputs[place] : Pre<float>{};
  }
};

}  // namespace
}  // namespace cuda
}  // namespace lstmcore
