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
  double fused_us = 3.0;     // one, of a step of up to kFewRows rows
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
    const bool wide = spec.dtype == LSTMCORE_CUDA_FLOAT32;
    const double k = tiling.words * (wide ? 1 : 2), unpack = wide ? 0 : 2 * k;
    return clocks_us(std::max(2 * k * rows + unpack, 2 * k * rows + 8.0 * tiling.shared_words()));
  }
  const double tiles = rows / kColumns, chunks = tiling.words / kMmaChunkWords;
  const double products = 4 * chunks * tiles * (spec.math == LSTMCORE_CUDA_TF32X3 ? 3 : 1);
  const double arithmetic = kWarps / 4 * products * kCosts.mma_clocks;
  const double shared = kWarps * (4 * chunks * tiles + std::ceil(tiles / 2) * tiling.shared_words());
  return clocks_us(std::max(arithmetic, shared));
}

// Of all cells of a thread, one after the other.
double cells_us(const Tiling& tiling, const lstmcore_cuda_plan& plan) {
  return kCosts.cell_us * tiling.cells(plan.rows_per_group);
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
  const double launches = batch <= kFewRows ? kCosts.fused_us : kCosts.stepwise_us;
  const double step = launches + product_us(spec, batch, 4 * H * (spec.num_proj ? P : H), true);
  return spec.num_proj ? step + kCosts.stepwise_us + product_us(spec, batch, H * P, true) : step;
}

// What a persistent path takes for each step beside its kernel: its launch, and m P of all steps at once.
double around_us(const lstmcore_cuda_spec& spec, std::int64_t steps, std::int64_t batch) {
  const double launches = kCosts.launch_us * (spec.num_proj ? 2 : 1) / double(steps);
  return launches + product_us(spec, batch, double(spec.num_units) * double(spec.num_proj), false);
}

// Whether the path can have so many blocks.
bool has_blocks(const lstmcore_cuda_device& device, const lstmcore_cuda_plan& plan) {
  const std::int64_t blocks = plan.blocks_per_group;
  switch (plan.path) {
    case LSTMCORE_CUDA_BLOCK:
      return blocks == 1;
    case LSTMCORE_CUDA_CLUSTER:
      return blocks > 1 && blocks <= device.max_cluster;
    default:
      return blocks > 1 && device.cooperative && plan.groups * blocks <= device.multiprocessors;
  }
}

bool fits(const lstmcore_cuda_device& device, const lstmcore_cuda_plan& plan, const Tiling& tiling) {
  return plan.shared_bytes <= device.shared_per_block &&
         (tiling.mma || tiling.several_tiles() || tiling.cells(plan.rows_per_group) == 1);
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
  return waves * (cells_us(tiling, plan) + exchange + multiply_us(tiling, plan, spec));
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
  // More than 64 units: those of a layer in one block.
  const bool several_tiles = spec.num_units > 64 && spec.num_units <= kThreads;
  const int all_units[] = {8, 16, 32, 64, several_tiles ? round_up(spec.num_units, kTileUnits) : 0};
  for (const int rows : kRows[kernel]) {
    if (spec.rows_per_group && spec.rows_per_group != rows) continue;
    for (const int units : all_units) {
      if (!units || (units > 64 && path != LSTMCORE_CUDA_BLOCK)) continue;
      lstmcore_cuda_plan plan{};
      plan.path = path;
      plan.kernel = kernel;
      plan.rows_per_group = rows;
      plan.groups = int(ceil_div(batch, rows));
      plan.units_per_block = units;
      plan.blocks_per_group = int(ceil_div(spec.num_units, units));
      if (!has_blocks(device, plan)) continue;
      const Tiling tiling = tiling_of(plan, spec);
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

// The words of one block's thread, and where each weight of R is in them: visit(word, part, k, gate, unit).
template <class F>
void each_weight(const Tiling& tiling, int per_word, int thread, const F& visit) {
  const int lane = thread % 32;
  const Share& share = tiling.shares[thread / 32];
  for (int word = 0; word < share.chunks * tiling.chunk_words; ++word) {
    const int chunk = share.in_tile + word / tiling.chunk_words, in_chunk = word % tiling.chunk_words;
    const int tile = share.tile + chunk / tiling.tile_chunks;
    const int first_word = chunk % tiling.tile_chunks * tiling.chunk_words;
    for (int part = 0; part < per_word; ++part) {
      if (!tiling.mma) {
        visit(word, part, (first_word + in_chunk) * per_word + part, lane % 4, tile * kTileUnits + lane / 4);
        continue;
      }
      // A word of the first factor: rows 0-7 or 8-15 of a product, the first or the second of lane l's
      // columns.
      const int depth = in_chunk / 8, product = word % 8 / 4, lower = word % 2, second = word % 4 / 2;
      const int h_word = first_word + lane % 4 * 4 + depth * 2 + second;
      visit(word, part, h_word * per_word + part, 2 * product + lower, tile * kTileUnits + lane / 4);
    }
  }
}

// What the two kernels share: `words` of h, dealt out in chunks.
Tiling deal(std::int64_t H, int units, int chunk_words, std::int64_t words) {
  Tiling tiling;
  tiling.units = units;
  tiling.row_tiles = units / kTileUnits;
  tiling.chunk_words = chunk_words;
  tiling.tile_chunks = int(ceil_div(words, chunk_words));
  if (!tiling.several_tiles()) {
    tiling.tile_warps = kWarps / tiling.row_tiles;
    tiling.tile_chunks = round_up(tiling.tile_chunks, tiling.tile_warps);
  }
  tiling.blocks = int(ceil_div(H, units));
  const int all = tiling.row_tiles * tiling.tile_chunks;
  for (int warp = 0; warp < kWarps; ++warp) {
    const int first = warp * all / kWarps, last = (warp + 1) * all / kWarps - 1;
    const int tile = first / tiling.tile_chunks, last_tile = last / tiling.tile_chunks;
    tiling.shares[warp] = {last + 1 - first, tile, first % tiling.tile_chunks, tiling.sums};
    tiling.words = std::max(tiling.words, (last + 1 - first) * chunk_words);
    tiling.sums += last_tile + 1 - tile;
    for (int own = tile; own <= last_tile; ++own)
      tiling.first_sum[own + 1] = std::uint8_t(tiling.sums - (last_tile - own));
  }
  return tiling;
}

}  // namespace

Tiling make_tiling(std::int64_t H, int units, int weight_bytes, int rows) {
  const int per_word = 4 / weight_bytes;
  Tiling tiling = deal(H, units, kChunkWords, ceil_div(H, per_word));
  tiling.register_words = register_words(false, tiling.several_tiles(), rows);
  tiling.h_words = int(H);
  tiling.h_stride = tiling.tile_chunks * kChunkWords * per_word;
  return tiling;
}

Tiling make_mma_tiling(std::int64_t H, int units, int weight_bytes) {
  const std::int64_t words = ceil_div(H, 4 / weight_bytes);
  Tiling tiling = deal(H, units, kMmaChunkWords, words);
  tiling.mma = true;
  tiling.register_words = register_words(true, tiling.several_tiles(), kColumns);
  tiling.h_words = int(words);
  // Eight lanes read 64 bytes each of two rows at a time: the rows are half of the banks apart.
  const int stride = tiling.tile_chunks * kMmaChunkWords;
  tiling.h_stride = stride % 32 ? stride : stride + 16;
  return tiling;
}

Tiling tiling_of(const lstmcore_cuda_plan& plan, const lstmcore_cuda_spec& spec) {
  const int bytes = int(dtype_bytes(spec.dtype));
  return plan.kernel == LSTMCORE_CUDA_KERNEL_MMA
             ? make_mma_tiling(spec.num_units, plan.units_per_block, bytes)
             : make_tiling(spec.num_units, plan.units_per_block, bytes, plan.rows_per_group);
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
