#include "plan.h"

#include <algorithm>
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
  double launch_us = 8.0;    // once per persistent launch
  double gemm_float32_tflops = 45, gemm_tf32_tflops = 250, gemm_half_tflops = 500, gemm_float64_tflops = 40;
  double weights_tb_per_s = 4.0;  // of R, read again in each step
  int full_clusters = 7;          // clusters of 16 that run at once
};
constexpr Costs kCosts;

int round_up(std::int64_t value, int multiple) { return int((value + multiple - 1) / multiple * multiple); }
std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Per multiprocessor and clock: 128 multiply-adds, or one shared-memory access of 128 bytes.
double multiply_us(const Tiling& tiling, int rows, int dtype) {
  const double k = tiling.slice_length, unpack = dtype == LSTMCORE_CUDA_FLOAT32 ? 0 : 2 * k;
  const double arithmetic = 2 * k * rows + unpack, shared = 2 * k * rows + 8.0 * tiling.shared_words();
  return std::max(arithmetic, shared) / (kCosts.clock_ghz * 1e3);
}

double stepwise_us(const lstmcore_cuda_spec& spec, std::int64_t batch) {
  const double rate = spec.dtype == LSTMCORE_CUDA_FLOAT64   ? kCosts.gemm_float64_tflops
                      : spec.dtype != LSTMCORE_CUDA_FLOAT32 ? kCosts.gemm_half_tflops
                      : spec.tf32                           ? kCosts.gemm_tf32_tflops
                                                            : kCosts.gemm_float32_tflops;
  const double weights = 4.0 * spec.num_units * (spec.num_proj ? spec.num_proj : spec.num_units);
  const double multiply = 2 * weights * batch / (rate * 1e6);
  const double read = weights * dtype_bytes(spec.dtype) / (kCosts.weights_tb_per_s * 1e6);
  return kCosts.stepwise_us * (spec.num_proj ? 2 : 1) + std::max(multiply, read);
}

bool fits(const lstmcore_cuda_device& device, const lstmcore_cuda_plan& plan, const Tiling& tiling) {
  if (plan.rows_per_group * tiling.units > kThreads || plan.shared_bytes > device.shared_per_block)
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
  const double exchange = plan.path == LSTMCORE_CUDA_BLOCK     ? kCosts.block_us
                          : plan.path == LSTMCORE_CUDA_CLUSTER ? kCosts.cluster_us
                                                               : kCosts.grid_us;
  const double waves = double(ceil_div(plan.groups, std::max<std::int64_t>(at_once, 1)));
  return waves * (kCosts.cell_us + exchange + multiply_us(tiling, plan.rows_per_group, spec.dtype));
}

// What a persistent kernel cannot do at all.
bool persistent_possible(const lstmcore_cuda_spec& spec) {
  return spec.num_proj == 0 && spec.dtype != LSTMCORE_CUDA_FLOAT64;
}

}  // namespace

Tiling make_tiling(std::int64_t H, int units, int weight_bytes) {
  Tiling tiling;
  tiling.units = units;
  tiling.row_tiles = 4 * units / 32;
  tiling.slices = kWarps / tiling.row_tiles;
  tiling.slice_length = round_up(ceil_div(H, tiling.slices), 32 / weight_bytes);
  tiling.words = tiling.slice_length * weight_bytes / 4;
  tiling.blocks = int(ceil_div(H, units));
  return tiling;
}

std::vector<std::uint32_t> pack_recurrent(const Tiling& tiling, std::int64_t H, const float* R, int dtype) {
  const int per_word = dtype == LSTMCORE_CUDA_FLOAT32 ? 1 : 2;
  std::vector<std::uint32_t> packed(std::size_t(tiling.blocks) * tiling.words * kThreads);
  const auto bits = [dtype](float weight) -> std::uint32_t {
    if (dtype == LSTMCORE_CUDA_FLOAT32) return float_to_bits(weight);
    return dtype == LSTMCORE_CUDA_FLOAT16 ? store<float16>(weight).bits : store<bfloat16>(weight).bits;
  };
  for (int block = 0; block < tiling.blocks; ++block)
    for (int thread = 0; thread < kThreads; ++thread) {
      const int warp = thread / 32, row = warp % tiling.row_tiles * 32 + thread % 32;
      const std::int64_t unit = std::int64_t(block) * tiling.units + row / 4;
      const std::int64_t first_k = std::int64_t(warp / tiling.row_tiles) * tiling.slice_length;
      if (unit >= H) continue;
      for (int i = 0; i < tiling.slice_length && first_k + i < H; ++i) {
        const int word = i / per_word;
        const std::size_t at = ((std::size_t(block) * (tiling.words / 4) + word / 4) * kThreads + thread) * 4;
        packed[at + word % 4] |= bits(R[((first_k + i) * 4 + row % 4) * H + unit]) << (i % per_word * 16);
      }
    }
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
      for (const int rows : {1, 4, 8})
        for (const int units : {8, 16, 32, 64}) {
          const Tiling tiling = make_tiling(spec.num_units, units, int(dtype_bytes(spec.dtype)));
          lstmcore_cuda_plan plan{};
          plan.path = candidate;
          plan.rows_per_group = rows;
          plan.groups = int(ceil_div(batch, rows));
          plan.blocks_per_group = tiling.blocks;
          plan.units_per_block = units;
          plan.words_per_thread = tiling.words;
          plan.shared_bytes = tiling.shared_bytes(rows);
          if (candidate == LSTMCORE_CUDA_GRID)
            plan.exchange_bytes = std::size_t(plan.groups) * rows * round_up(spec.num_units, 4) * 4;
          if (!fits(device, plan, tiling)) continue;
          plan.estimated_step_us =
              persistent_us(device, plan, tiling, spec) + kCosts.launch_us / double(steps);
          if (best.path == 0 || plan.estimated_step_us < best.estimated_step_us) best = plan;
        }
  if (best.path == 0)
    throw std::invalid_argument("path: this one cannot run " + std::to_string(batch) + " rows of " +
                                std::to_string(spec.num_units) + " units on " + device.name);
  return best;
}

}  // namespace cuda
}  // namespace lstmcore
