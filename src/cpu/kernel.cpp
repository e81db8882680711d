// The step kernel. Compiled once per ISA level with LSTMCORE_LEVEL naming it; everything has internal linkage
// but the table at the end, so that the linker can never hand one level's code to another.
#include "cpu/kernel.h"

#include "cpu/simd.h"
#include "gates.h"

namespace lstmcore {
namespace cpu {
namespace {

// Rows of one register tile: as many as leave registers for the weights and a broadcast beside 4 accumulators
// a row (with 16 registers, one of the weights is read from memory again).
#if defined(__AVX512F__) || defined(__aarch64__)
template <class T>
constexpr int tile_rows = 6;  // 32 registers
#else
template <class T>
constexpr int tile_rows = sizeof(Sum<T>) > sizeof(Vec<T>) ? 1 : 3;  // 16 registers
#endif

// Longer sums are made of partial sums of this many products: the rounding error of a sum grows with its
// longest chain. 64 costs no measurable time against 256, and at K = 512 nearly halves the error.
constexpr std::int64_t kBlock = 64;

// total[r][g] += sum over k of a[r][k] * w[k][g], a block of k at a time. The order in which one lane adds is
// the same for every tile height, ISA level and batch: that is the bitwise guarantee.
template <class T, int M>
LSTMCORE_INLINE void multiply_add(Vec<T> (&total)[M][kGates], const T* const (&a)[M], const T* w,
                                  std::int64_t K) {
  constexpr int L = lanes<T>;
  for (std::int64_t begin = 0; begin < K; begin += kBlock) {
    const std::int64_t end = begin + kBlock < K ? begin + kBlock : K;
    Sum<T> sum[M][kGates];
    for (std::int64_t k = begin; k < end; ++k, w += kGates * L) {
      const Vec<T> w0 = load(w), w1 = load(w + L), w2 = load(w + 2 * L), w3 = load(w + 3 * L);
      for (int r = 0; r < M; ++r) {
        Vec<T> s = vec_set(a[r][k]);
        add_product(sum[r][0], s, w0);
        add_product(sum[r][1], s, w1);
        add_product(sum[r][2], s, w2);
        add_product(sum[r][3], s, w3);
      }
    }
    for (int r = 0; r < M; ++r)
      for (int g = 0; g < kGates; ++g) total[r][g] += rounded(sum[r][g]);
  }
}

template <class T>
LSTMCORE_INLINE Vec<T> load_units(const T* p, int units) {
  return units == lanes<T> ? load(p) : load_part(p, units);
}
template <class T>
LSTMCORE_INLINE void store_units(T* p, Vec<T> v, int units) {
  if (units == lanes<T>)
    store(p, v);
  else
    store_part(p, v, units);
}

template <class T>
LSTMCORE_INLINE CellOptions<Vec<T>> panel_options(const StepArgs<T>& args, std::int64_t panel) {
  constexpr int L = lanes<T>;
  CellOptions<Vec<T>> options = {};
  options.activation = args.activation;
  options.hard_gates = args.recurrent_activation != Activation::sigmoid;
  options.gate_slope = vec_set(T(hard_sigmoid_slope(args.recurrent_activation)));
  options.peepholes = args.peepholes != nullptr;
  if (options.peepholes) {
    const T* p = args.peepholes + panel * 3 * L;
    options.p_i = load(p);
    options.p_f = load(p + L);
    options.p_o = load(p + 2 * L);
  }
  options.clip = args.clip_cell;
  options.clip_limit = vec_set(args.cell_clip);
  return options;
}

// The tail of one row of a tile: from pre-activations to c_out and h_out.
template <class T>
LSTMCORE_INLINE void update_row(const StepArgs<T>& args, const CellOptions<Vec<T>>& options,
                                const Row<T>& row, const Vec<T> (&total)[kGates], std::int64_t unit,
                                int units) {
  Gates<Vec<T>> gates = {total[0], total[1], total[2], total[3]};
  const CellState<Vec<T>> state = lstm_cell(gates, load_units(row.c + unit, units), options);
  store_units(row.c_out + unit, state.c, units);
  store_units(row.h_out + unit, state.h, units);
  if (args.gates.i) {
    const std::int64_t offset = row.gate_offset + unit;
    store_units(args.gates.i + offset, gates.i, units);
    store_units(args.gates.f + offset, gates.f, units);
    store_units(args.gates.o + offset, gates.o, units);
    store_units(args.gates.ci + offset, gates.j, units);
    store_units(args.gates.co + offset, state.co, units);
  }
}

// z = x W + b: the head of a step that does not wait for the step before.
template <class T, int M>
LSTMCORE_INLINE void input_gates(const StepArgs<T>& args, const Row<T>* rows, std::int64_t panel,
                                 Vec<T> (&total)[M][kGates]) {
  constexpr int L = lanes<T>;
  const T* x[M];
  for (int r = 0; r < M; ++r) {
    x[r] = rows[r].x;
    for (int g = 0; g < kGates; ++g) total[r][g] = load(args.bias + (panel * kGates + g) * L);
  }
  multiply_add<T, M>(total, x, args.W + panel * args.I * kGates * L, args.I);
}

template <class T, int M>
struct InputGatesTile {
  static void run(const StepArgs<T>& args, const Row<T>* rows, std::int64_t panel) {
    constexpr int L = lanes<T>;
    Vec<T> total[M][kGates];
    input_gates(args, rows, panel, total);
    for (int r = 0; r < M; ++r)
      for (int g = 0; g < kGates; ++g) store(rows[r].z + (panel * kGates + g) * L, total[r][g]);
  }
};

// The rest of a step: z + h R, and the state update.
template <class T, int M>
LSTMCORE_INLINE void update_tile(const StepArgs<T>& args, const Row<T>* rows, std::int64_t panel,
                                 Vec<T> (&total)[M][kGates]) {
  constexpr int L = lanes<T>;
  const T* h[M];
  for (int r = 0; r < M; ++r) h[r] = rows[r].h;
  multiply_add<T, M>(total, h, args.R + panel * args.P * kGates * L, args.P);

  const CellOptions<Vec<T>> options = panel_options(args, panel);
  const std::int64_t unit = panel * L;
  const int units = args.H - unit < L ? static_cast<int>(args.H - unit) : L;
  for (int r = 0; r < M; ++r) update_row(args, options, rows[r], total[r], unit, units);
}

template <class T, int M>
struct StepTile {
  static void run(const StepArgs<T>& args, const Row<T>* rows, std::int64_t panel) {
    Vec<T> total[M][kGates];
    input_gates(args, rows, panel, total);
    update_tile(args, rows, panel, total);
  }
};

template <class T, int M>
struct RecurrentStepTile {
  static void run(const StepArgs<T>& args, const Row<T>* rows, std::int64_t panel) {
    constexpr int L = lanes<T>;
    Vec<T> total[M][kGates];
    for (int r = 0; r < M; ++r)
      for (int g = 0; g < kGates; ++g) total[r][g] = load(rows[r].z + (panel * kGates + g) * L);
    update_tile(args, rows, panel, total);
  }
};

template <class T, int M>
struct ProjectTile {
  static void run(const StepArgs<T>& args, const Row<T>* rows, std::int64_t panel) {
    constexpr int L = lanes<T>;
    const T* m[M];
    Vec<T> total[M][kGates];
    for (int r = 0; r < M; ++r) {
      m[r] = rows[r].h_out;
      for (int g = 0; g < kGates; ++g) total[r][g] = load(args.projection_bias + g * L);
    }
    multiply_add<T, M>(total, m, args.projection + panel * args.H * kGates * L, args.H);
    const Vec<T> limit = vec_set(args.proj_clip);
    for (int r = 0; r < M; ++r) {
      for (int g = 0; g < kGates; ++g) {
        const std::int64_t output = (panel * kGates + g) * L;
        if (output >= args.P) break;
        const Vec<T> h = args.clip_projection ? clip(total[r][g], -limit, limit) : total[r][g];
        store_units(rows[r].projected + output, h,
                    args.P - output < L ? static_cast<int>(args.P - output) : L);
      }
    }
  }
};

// Calls Tile<M> over n rows, in tiles as even as they can be: 8 rows are 4 + 4, not 6 + 2.
template <class T, template <class, int> class Tile>
LSTMCORE_INLINE void for_tiles(const StepArgs<T>& args, const Row<T>* rows, std::int64_t n,
                               std::int64_t panel) {
  for (std::int64_t tiles = (n + tile_rows<T> - 1) / tile_rows<T>; tiles > 0; --tiles) {
    const std::int64_t m = (n + tiles - 1) / tiles;
    switch (m) {
      case 1:
        Tile<T, 1>::run(args, rows, panel);
        break;
      case 2:
        Tile<T, 2>::run(args, rows, panel);
        break;
      case 3:
        Tile<T, 3>::run(args, rows, panel);
        break;
#if defined(__AVX512F__) || defined(__aarch64__)
      case 4:
        Tile<T, 4>::run(args, rows, panel);
        break;
      case 5:
        Tile<T, 5>::run(args, rows, panel);
        break;
      case 6:
        Tile<T, 6>::run(args, rows, panel);
        break;
#endif
    }
    rows += m;
    n -= m;
  }
}

template <class T, template <class, int> class Tile>
void run_panels(const StepArgs<T>& args, const Row<T>* rows, std::int64_t n, const Panels& panels) {
  for (std::int64_t k = panels.begin; k < panels.end; ++k)
    for_tiles<T, Tile>(args, rows, n, panels.descending ? panels.begin + panels.end - 1 - k : k);
}

template <class T>
void activate_array(Activation activation, const T* in, T* out, std::int64_t n) {
  constexpr int L = lanes<T>;
  for (std::int64_t k = 0; k < n; k += L) {
    const int units = n - k < L ? static_cast<int>(n - k) : L;
    store_units(out + k, activate(activation, load_units(in + k, units)), units);
  }
}

template <class T>
std::int64_t multiply_adds(std::int64_t n) {
  constexpr int kChains = 12;  // no CPU has more in flight
  constexpr std::int64_t kEach = kChains * lanes<T>;
  Vec<T> sum[kChains];
  for (int c = 0; c < kChains; ++c) sum[c] = vec_set(T(c));  // equal chains would be computed once
  const Vec<T> s = vec_set(T(0.999)), w = vec_set(T(0.001));
  const std::int64_t times = (n + kEach - 1) / kEach;
  for (std::int64_t k = 0; k < times; ++k)
    for (int c = 0; c < kChains; ++c) sum[c] = vec_fma(sum[c], s, w);
  for (int c = 1; c < kChains; ++c) sum[0] += sum[c];
  volatile T sink = sum[0][0];  // or nothing would be computed
  (void)sink;
  return times * kEach;
}

template <class T>
constexpr KernelsOf<T> table() {
  return {lanes<T>,
          tile_rows<T>,
          run_panels<T, StepTile>,
          run_panels<T, InputGatesTile>,
          run_panels<T, RecurrentStepTile>,
          run_panels<T, ProjectTile>,
          activate_array<T>,
          multiply_adds<T>};
}

}  // namespace

#define LSTMCORE_JOIN_(a, b) a##b
#define LSTMCORE_JOIN(a, b) LSTMCORE_JOIN_(a, b)
#define LSTMCORE_TEXT_(a) #a
#define LSTMCORE_TEXT(a) LSTMCORE_TEXT_(a)

extern const Kernels LSTMCORE_JOIN(kernels_, LSTMCORE_LEVEL);
const Kernels LSTMCORE_JOIN(kernels_, LSTMCORE_LEVEL) = {
    LSTMCORE_TEXT(LSTMCORE_LEVEL),
    table<float>(),
    table<double>(),
};

}  // namespace cpu
}  // namespace lstmcore
