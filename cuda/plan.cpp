#include "plan.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "dtypes.h"

namespace lstmcore {
namespace cuda {
namespace {

// What the choice rests on. Estimates for an H100: the device report is there to replace them.
struct Costs {
  double clock_ghz = 1.7;
  double cell_us = 0.30;     // gates, rounding, store
  double block_us = 0.05;    // h to all of a block
  double cluster_us = 0.30;  // h to all of a cluster
  double grid_us = 0.80;     // h through L2
  double stepwise_us = 5.5;  // two launches inside a graph
  double launch_us = 8.0;    // once per persistent launch, and for what follows it with a projection
  double gemm_float32_tflops = 45, gemm_tf32_tflops = 250, gemm_half_tflops = 500, gemm_float64_tflops = 40;
  double weights_tb_per_s = 4.0;               // of R, read again in each step
  int full_clusters = 7;                       // clusters of 16 that run at once
  double mma_clocks = 6.5;                     // a product of a warp; four warps multiply at once
  double cluster_bytes = 21, grid_bytes = 38;  // of h, into a multiprocessor per clock
};
constexpr Costs kCosts;

int round_up(std::int64_t value, int multiple) { return int((value + multiple - 1) / multiple * multiple); }
std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

double clocks_us(double clocks) { return clocks / (kCosts.clock_ghz * 1e3); }

// Per multiprocessor and clock: 128 multiply-adds, or one shared-memory access of 128 bytes.
double multiply_us(const Tiling& tiling, const lstmcore_cuda_plan& plan, const lstmcore_cuda_spec& spec) {
  const double rows = plan.rows_per_group;
  if (!tiling.mma) {
    const double k = tiling.slice_length, unpack = spec.dtype == LSTMCORE_CUDA_FLOAT32 ? 0 : 2 * k;
    return clocks_us(std::max(2 * k * rows + unpack, 2 * k * rows + 8.0 * tiling.shared_words()));
  }
  const double tiles = rows / kColumns, chunks = tiling.words / kChunkWords;
  const double products = 4 * chunks * tiles * (spec.math == LSTMCORE_CUDA_TF32X3 ? 3 : 1);
  const double arithmetic = kWarps / 4 * products * kCosts.mma_clocks;
  const double shared = kWarps * (4 * chunks * tiles + std::ceil(tiles / 2) * tiling.shared_words());
  const double cells = clocks_us(kCosts.clock_ghz * 1e3 * kCosts.cell_us) * (tiling.cells(int(rows)) - 1);
  return clocks_us(std::max(arithmetic, shared)) + cells;
}

// Of a matrix product with this many weights, which are read for it if they are not at hand.
double product_us(const lstmcore_cuda_spec& spec, std::int64_t batch, double weights, bool reads) {
  const double rate = spec.dtype == LSTMCORE_CUDA_FLOAT64   ? kCosts.gemm_float64_tflops
                      : spec.dtype != LSTMCORE_CUDA_FLOAT32 ? kCosts.gemm_half_tflops
                      : spec.math == LSTMCORE_CUDA_TF32     ? kCosts.gemm_tf32_tflops
                                                            : kCosts.gemm_float32_tflops;
  const double multiply = 2 * weights * batch / (rate * 1e6);
  const double read = weights * dtype_bytes(spec.dtype) / (kCosts.weights_tb_per_s * 1e6);
  return reads ? std::max(multiply, read) : multiply;
}

double stepwise_us(const lstmcore_cuda_spec& spec, std::int64_t batch) {
  const double H = double(spec.num_units), P = double(spec.num_proj);
  const double step = kCosts.stepwise_us + product_us(spec, batch, 4 * H * (spec.num_proj ? P : H), true);
  return spec.num_proj ? step + kCosts.stepwise_us + product_us(spec, batch, H * P, true) : step;
}

// What a persistent path takes for each step beside its kernel: its launch, and m P of all steps at once.
double around_us(const lstmcore_cuda_spec& spec, std::int64_t steps, std::int64_t batch) {
  const double launches = kCosts.launch_us * (spec.num_proj ? 2 : 1) / double(steps);
  return launches + product_us(spec, batch, double(spec.num_units) * double(spec.num_proj), false);
}

bool fits(const lstmcore_cuda_device& device, const lstmcore_cuda_plan& plan, const Tiling& tiling) {
  if ((!tiling.mma && plan.rows_per_group * tiling.units > kThreads) ||
      plan.shared_bytes > device.shared_per_block)
    return false;
  switch (plan.path) {
    case LSTMCORE_CUDA_BLOCK:
      return tiling.blocks == 1;
    case LSTMCORE_CUDA_CLUSTER:
      return tiling.blocks > 1 && tiling.blocks <= device.max_cluster;
    default:
      return tiling.blocks > 1 && device.cooperative &&
             std::int64_t(plan.groups) * tiling.blocks <= device.multiprocessors;
  }
}

double persistent_us(const lstmcore_cuda_device& device, const lstmcore_cuda_plan& plan, const Tiling& tiling,
                     const lstmcore_cuda_spec& spec) {
  const std::int64_t at_once = plan.path == LSTMCORE_CUDA_BLOCK ? device.multiprocessors
                               : plan.path == LSTMCORE_CUDA_CLUSTER
                                   ? std::min<std::int64_t>(device.multiprocessors / tiling.blocks,
                                                            kCosts.full_clusters * (16 / tiling.blocks))
                                   : plan.groups;
  const double bytes = 4.0 * plan.rows_per_group * tiling.h_words;
  const double exchange = plan.path == LSTMCORE_CUDA_BLOCK ? kCosts.block_us
                          : plan.path == LSTMCORE_CUDA_CLUSTER
                              ? kCosts.cluster_us + clocks_us(bytes / kCosts.cluster_bytes)
                              : kCosts.grid_us + clocks_us(bytes / kCosts.grid_bytes);
  const double waves = double(ceil_div(plan.groups, std::max<std::int64_t>(at_once, 1)));
  return waves * (kCosts.cell_us + exchange + multiply_us(tiling, plan, spec));
}

bool kernel_possible(const lstmcore_cuda_spec& spec, int kernel) {
  if (spec.kernel && spec.kernel != kernel) return false;
  return kernel == LSTMCORE_CUDA_KERNEL_FMA || spec.dtype != LSTMCORE_CUDA_FLOAT32 ||
         spec.math != LSTMCORE_CUDA_IEEE;
}

// The persistent plan of this path and kernel that takes the least time, if one fits and takes less than
// `best`.
void improve(lstmcore_cuda_plan& best, const lstmcore_cuda_device& device, const lstmcore_cuda_spec& spec,
             std::int64_t steps, std::int64_t batch, int path, int kernel) {
  static constexpr int kRows[3][3] = {{}, {1, 4, kMaxRows}, {kColumns, 2 * kColumns, 4 * kColumns}};
  for (const int rows : kRows[kernel]) {
    if (spec.rows_per_group && spec.rows_per_group != rows) continue;
    for (const int units : {8, 16, 32, 64}) {
      lstmcore_cuda_plan plan{};
      plan.path = path;
      plan.kernel = kernel;
      plan.rows_per_group = rows;
      plan.groups = int(ceil_div(batch, rows));
      plan.units_per_block = units;
      const Tiling tiling = tiling_of(plan, spec);
      plan.blocks_per_group = tiling.blocks;
      plan.words_per_thread = tiling.words;
      plan.shared_bytes = tiling.shared_bytes(rows);
      if (path == LSTMCORE_CUDA_GRID)
        plan.exchange_bytes = std::size_t(plan.groups) * rows * round_up(tiling.h_words, 4) * 4;
      if (!fits(device, plan, tiling)) continue;
      plan.estimated_step_us = persistent_us(device, plan, tiling, spec) + around_us(spec, steps, batch);
      if (best.path == 0 || plan.estimated_step_us < best.estimated_step_us) best = plan;
    }
  }
}

// The words of one block's thread, and where each weight of R is in them: visit(word, shift, k, gate, unit).
template <class F>
void each_weight(const Tiling& tiling, int per_word, int thread, const F& visit) {
  const int warp = thread / 32, lane = thread % 32, tile = warp % tiling.row_tiles;
  const int slice = warp / tiling.row_tiles;
  for (int word = 0; word < tiling.words; ++word)
    for (int part = 0; part < per_word; ++part) {
      if (!tiling.mma) {
        const int row = tile * 32 + lane;
        visit(word, part, slice * tiling.slice_length + word * per_word + part, row % 4, row / 4);
        continue;
      }
      // A word of the first factor: rows 0-7 or 8-15 of a product, the first or the second of lane l's
      // columns.
      const int chunk = word / kChunkWords, in_chunk = word % kChunkWords / 8, product = word % 8 / 4;
      const int lower = word % 2, second = word % 4 / 2;
      const int h_word =
          (slice * (tiling.words / kChunkWords) + chunk) * kChunkWords + lane % 4 * 4 + in_chunk * 2 + second;
      visit(word, part, h_word * per_word + part, 2 * product + lower, tile * 8 + lane / 4);
    }
}

}  // namespace

Tiling make_tiling(std::int64_t H, int units, int weight_bytes) {
  Tiling tiling;
  tiling.units = units;
  tiling.row_tiles = 4 * units / 32;
  tiling.slices = kWarps / tiling.row_tiles;
  tiling.slice_length = round_up(ceil_div(H, tiling.slices), 32 / weight_bytes);
  tiling.words = tiling.slice_length * weight_bytes / 4;
  tiling.register_words = kRegisterWords;
  tiling.blocks = int(ceil_div(H, units));
  tiling.h_words = int(H);
  tiling.h_stride = tiling.padded_k();
  return tiling;
}

Tiling make_mma_tiling(std::int64_t H, int units, int weight_bytes) {
  Tiling tiling = make_tiling(H, units, weight_bytes);
  const int per_word = 4 / weight_bytes;
  tiling.mma = true;
  tiling.slice_length = round_up(ceil_div(H, tiling.slices), kChunkWords * per_word);
  tiling.words = tiling.slice_length / per_word;  // 64 gate rows and columns of a product, 16 words of h
  tiling.register_words = kMmaRegisterWords;
  tiling.h_words = int(ceil_div(H, per_word));
  // Eight lanes read 64 bytes each of two rows at a time: the rows are half of the banks apart.
  const int words = tiling.slices * tiling.words;
  tiling.h_stride = words % 32 ? words : words + 16;
  return tiling;
}

Tiling tiling_of(const lstmcore_cuda_plan& plan, const lstmcore_cuda_spec& spec) {
  const auto make = plan.kernel == LSTMCORE_CUDA_KERNEL_MMA ? make_mma_tiling : make_tiling;
  return make(spec.num_units, plan.units_per_block, int(dtype_bytes(spec.dtype)));
}

std::vector<std::uint32_t> pack_recurrent(const Tiling& tiling, std::int64_t H, const float* R, int dtype,
                                          int math) {
  const int per_word = dtype == LSTMCORE_CUDA_FLOAT32 ? 1 : 2;
  std::vector<std::uint32_t> packed(std::size_t(tiling.blocks) * tiling.words * kThreads);
  const auto bits = [&](float weight) -> std::uint32_t {
    if (dtype == LSTMCORE_CUDA_FLOAT32)
      return tiling.mma && math == LSTMCORE_CUDA_TF32 ? tf32_word(weight) : float_to_bits(weight);
    return dtype == LSTMCORE_CUDA_FLOAT16 ? store<float16>(weight).bits : store<bfloat16>(weight).bits;
  };
  for (int block = 0; block < tiling.blocks; ++block)
    for (int thread = 0; thread < kThreads; ++thread)
      each_weight(tiling, per_word, thread, [&](int word, int part, std::int64_t k, int gate, int own_unit) {
        const std::int64_t unit = std::int64_t(block) * tiling.units + own_unit;
        if (unit >= H || k >= H) return;
        const std::size_t at = ((std::size_t(block) * (tiling.words / 4) + word / 4) * kThreads + thread) * 4;
        packed[at + word % 4] |= bits(R[(k * 4 + gate) * H + unit]) << (16 * part);
      });
  return packed;
}

lstmcore_cuda_plan make_plan(const lstmcore_cuda_device& device, const lstmcore_cuda_spec& spec,
                             std::int64_t steps, std::int64_t batch, int path) {
  if (path < LSTMCORE_CUDA_AUTO || path > LSTMCORE_CUDA_GRID)
    throw std::invalid_argument("path: expected 0 to 4, got " + std::to_string(path));
  lstmcore_cuda_plan best{};
  if (path == LSTMCORE_CUDA_AUTO || path == LSTMCORE_CUDA_STEPWISE) {
    best.path = LSTMCORE_CUDA_STEPWISE;
    best.estimated_step_us = stepwise_us(spec, batch);
    // A persistent kernel would load all of R for a single step.
    if (path == LSTMCORE_CUDA_STEPWISE || steps == 1) return best;
  }
  const int first = path == LSTMCORE_CUDA_AUTO ? LSTMCORE_CUDA_BLOCK : path;
  const int last = path == LSTMCORE_CUDA_AUTO ? LSTMCORE_CUDA_GRID : path;
  if (persistent_possible(spec) && batch > 0 && steps > 0)
    for (int candidate = first; candidate <= last; ++candidate)
      for (const int kernel : {LSTMCORE_CUDA_KERNEL_FMA, LSTMCORE_CUDA_KERNEL_MMA})
        if (kernel_possible(spec, kernel)) improve(best, device, spec, steps, batch, candidate, kernel);
  if (best.path == 0 && !persistent_possible(spec))
    throw std::invalid_argument(spec.dtype == LSTMCORE_CUDA_FLOAT64
                                    ? "path: float64 has the stepwise path alone"
                                    : "path: proj_clip, with a projection, has the stepwise path alone");
  if (best.path == 0)
    throw std::invalid_argument("path: this one cannot run " + std::to_string(batch) + " rows of " +
                                std::to_string(spec.num_units) + " units on " + device.name);
  return best;
}

}  // namespace cuda
}  // namespace lstmcore
