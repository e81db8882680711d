// The planner and the packing for GPUs that are not here: every call has a plan, every plan is within its
// device, every weight lands once.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "dtypes.h"
#include "plan.h"

using namespace lstmcore::cuda;

namespace {

int failures = 0;
long checks = 0;

void expect(bool ok, const std::string& what) {
  ++checks;
  if (ok || ++failures > 20) return;
  std::printf("FAILED: %s\n", what.c_str());
}

// NVIDIA's tables: multiprocessors, and the shared memory that one block can have (compute capability 8.0 and
// 8.7: 163 KB, 8.6, 8.9 and 12.0: 99 KB, 9.0 and 10.0: 227 KB).
struct Gpu {
  const char* name;
  int major, minor, multiprocessors, max_cluster, shared_kb, memory_gb;
};
const Gpu kGpus[] = {
    {"A100 80GB", 8, 0, 108, 1, 163, 80},
    {"A10", 8, 6, 72, 1, 99, 24},
    {"L4", 8, 9, 58, 1, 99, 24},
    {"L40S", 8, 9, 142, 1, 99, 48},
    {"RTX 4090", 8, 9, 128, 1, 99, 24},
    {"H100 SXM", 9, 0, 132, 16, 227, 80},
    {"H100 PCIe", 9, 0, 114, 16, 227, 80},
    {"H200", 9, 0, 132, 16, 227, 141},
    {"B200", 10, 0, 148, 16, 227, 180},
    {"RTX 5090", 12, 0, 170, 8, 99, 32},
    {"H100 MIG 1g.10gb", 9, 0, 16, 16, 227, 10},
    {"A100 MIG 1g.5gb", 8, 0, 14, 1, 163, 5},
    {"Jetson AGX Orin", 8, 7, 16, 1, 163, 64},
};

lstmcore_cuda_device device_of(const Gpu& gpu, bool cooperative = true) {
  lstmcore_cuda_device device{};
  std::snprintf(device.name, sizeof device.name, "%s", gpu.name);
  device.compute_major = gpu.major;
  device.compute_minor = gpu.minor;
  device.multiprocessors = gpu.multiprocessors;
  device.max_cluster = gpu.max_cluster;
  device.cooperative = cooperative;
  device.shared_per_block = std::size_t(gpu.shared_kb) * 1024;
  device.memory = std::size_t(gpu.memory_gb) << 30;
  return device;
}

struct Shape {
  std::int64_t T, N, I, H, P = 0;
};

std::vector<Shape> shapes() {
  std::vector<Shape> all = {
      // those of the device report
      {100, 1, 256, 256},        {100, 1, 512, 512},     {100, 1, 1024, 1024},
      {100, 32, 512, 512},       {100, 64, 1024, 1024},  {50, 256, 1024, 1024},
      {50, 64, 2048, 2048},      {1000, 1, 40, 256},     {1, 1, 7, 13},
      {50, 33, 100, 300, 77},    {20, 1, 100, 61, 300},  {60, 8, 100, 700, 1},
      {100, 64, 200, 2048, 512}, {30, 5, 40, 1023, 511},
  };
  for (const std::int64_t H : {1,   2,   3,   7,   8,   9,    31,   33,   64,   65,   127,  130,
                               255, 257, 511, 513, 768, 1000, 1023, 1025, 1536, 2047, 3000, 4096})
    for (const std::int64_t N : {0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 65, 1000}) all.push_back({37, N, 19, H});
  return all;
}

lstmcore_cuda_spec spec_of(const Shape& shape, int dtype) {
  lstmcore_cuda_spec spec{};
  spec.input_size = shape.I;
  spec.num_units = shape.H;
  spec.num_proj = shape.P;
  spec.dtype = dtype;
  return spec;
}

std::string text(const Gpu& gpu, const Shape& s, int dtype, int path) {
  return std::string(gpu.name) + ", T" + std::to_string(s.T) + " N" + std::to_string(s.N) + " H" +
         std::to_string(s.H) + " P" + std::to_string(s.P) + " dtype" + std::to_string(dtype) + " path" +
         std::to_string(path);
}

void check_within_device(const lstmcore_cuda_device& device, const Shape& shape, int dtype,
                         const lstmcore_cuda_plan& plan, const std::string& what) {
  expect(plan.estimated_step_us > 0, what + ": an estimate");
  if (plan.path == LSTMCORE_CUDA_STEPWISE) {
    expect(plan.shared_bytes == 0 && plan.exchange_bytes == 0, what + ": stepwise needs neither");
    return;
  }
  expect(dtype != LSTMCORE_CUDA_FLOAT64, what + ": persistent, where it cannot be");
  // Every row and every unit has a place, and no group or block is without one.
  const std::int64_t rows = plan.rows_per_group, units = plan.units_per_block;
  expect(rows * plan.groups >= shape.N && rows * (plan.groups - 1) < shape.N, what + ": rows");
  expect(units * plan.blocks_per_group >= shape.H && units * (plan.blocks_per_group - 1) < shape.H,
         what + ": units");
  expect(plan.shared_bytes <= device.shared_per_block, what + ": shared memory");
  // What the block's part of R takes is in registers and shared memory: 256 threads have 65536 registers.
  const std::size_t weights = std::size_t(4 * units) * std::size_t(shape.H) * dtype_bytes(dtype);
  expect(weights <= plan.shared_bytes + std::size_t(kThreads) * 255 * 4, what + ": R on chip");
  const bool cluster = plan.path == LSTMCORE_CUDA_CLUSTER, grid = plan.path == LSTMCORE_CUDA_GRID;
  expect(plan.blocks_per_group <= (cluster ? device.max_cluster
                                   : grid  ? device.multiprocessors
                                           : 1),
         what + ": blocks");
  if (grid) {
    expect(device.cooperative, what + ": cooperative");
    expect(std::int64_t(plan.groups) * plan.blocks_per_group <= device.multiprocessors,
           what + ": all blocks at once");
    // For each row h as it is stored at least, and a word for each unit at most, in whole quads.
    const std::size_t lanes = std::size_t(plan.groups) * std::size_t(rows);
    expect(plan.exchange_bytes >= lanes * std::size_t(shape.H) * dtype_bytes(dtype) &&
               plan.exchange_bytes % 16 == 0 && plan.exchange_bytes <= lanes * std::size_t(shape.H + 3) * 4,
           what + ": exchange " + std::to_string(plan.exchange_bytes));
  } else {
    expect(plan.exchange_bytes == 0, what + ": exchange");
  }
}

bool same(const lstmcore_cuda_plan& a, const lstmcore_cuda_plan& b) {
  return a.path == b.path && a.rows_per_group == b.rows_per_group && a.groups == b.groups &&
         a.blocks_per_group == b.blocks_per_group && a.units_per_block == b.units_per_block &&
         a.words_per_thread == b.words_per_thread && a.shared_bytes == b.shared_bytes &&
         a.exchange_bytes == b.exchange_bytes && a.estimated_step_us == b.estimated_step_us;
}

// False where this path cannot be.
bool try_plan(const lstmcore_cuda_device& device, const lstmcore_cuda_spec& spec, const Shape& shape,
              int path, lstmcore_cuda_plan& plan) {
  try {
    plan = make_plan(device, spec, shape.T, shape.N, path);
    return true;
  } catch (const std::invalid_argument&) {
    return false;
  }
}

void check_plans() {
  for (const Gpu& gpu : kGpus)
    for (const bool cooperative : {true, false})
      for (const Shape& shape : shapes())
        for (int dtype = 0; dtype < 4; ++dtype) {
          const lstmcore_cuda_device device = device_of(gpu, cooperative);
          const lstmcore_cuda_spec spec = spec_of(shape, dtype);
          lstmcore_cuda_plan fastest{}, plan{};
          expect(try_plan(device, spec, shape, LSTMCORE_CUDA_AUTO, fastest),
                 text(gpu, shape, dtype, 0) + ": none");
          expect(try_plan(device, spec, shape, LSTMCORE_CUDA_STEPWISE, plan),
                 text(gpu, shape, dtype, 1) + ": none");
          check_within_device(device, shape, dtype, fastest, text(gpu, shape, dtype, 0));
          for (int path = LSTMCORE_CUDA_STEPWISE; path <= LSTMCORE_CUDA_GRID; ++path) {
            if (!try_plan(device, spec, shape, path, plan)) continue;
            const std::string what = text(gpu, shape, dtype, path);
            expect(plan.path == path, what + ": forced");
            check_within_device(device, shape, dtype, plan, what);
            expect(fastest.estimated_step_us <= plan.estimated_step_us, what + ": faster than the choice");
          }
        }
}

// A plan depends on shape, type and device: on no option of the cell but the clip of a projection, not on
// what was planned before, and not on the length of a sequence but through the cost of a launch.
void check_dependence() {
  const lstmcore_cuda_device device = device_of(kGpus[5]);
  for (const Shape& shape : shapes())
    for (int dtype = 0; dtype < 4; ++dtype) {
      const lstmcore_cuda_spec plain = spec_of(shape, dtype);
      lstmcore_cuda_spec spec = plain;
      spec.peepholes = spec.has_cell_clip = 1;
      spec.has_proj_clip = shape.P == 0;
      spec.forget_bias = 0.5;
      spec.cell_clip = spec.proj_clip = 0.3;
      spec.activation = 3;
      const auto plan = [&](const lstmcore_cuda_spec& of) {
        return make_plan(device, of, shape.T, shape.N, 0);
      };
      const lstmcore_cuda_plan first = plan(plain);
      expect(same(first, plan(spec)) && same(first, plan(plain)),
             text(kGpus[5], shape, dtype, 0) + ": differs");
    }
}

std::string refusal(const lstmcore_cuda_device& device, const lstmcore_cuda_spec& spec, const Shape& shape,
                    int path) {
  try {
    make_plan(device, spec, shape.T, shape.N, path);
    return "";
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
}

// With a projection a persistent path holds what it does without one, and takes longer by the products around
// its kernel. A clip of the projection, and float64, leave the stepwise path alone.
void check_projection() {
  for (const Gpu& gpu : kGpus)
    for (const Shape& shape : shapes())
      for (int dtype = 0; shape.N && shape.P && dtype < 4; ++dtype)
        for (int path = LSTMCORE_CUDA_BLOCK; path <= LSTMCORE_CUDA_GRID; ++path) {
          const lstmcore_cuda_device device = device_of(gpu);
          const std::string what = text(gpu, shape, dtype, path);
          lstmcore_cuda_spec spec = spec_of(shape, dtype), plain = spec;
          plain.num_proj = 0;
          lstmcore_cuda_plan with{}, without{};
          const bool possible = try_plan(device, spec, shape, path, with);
          expect(possible == try_plan(device, plain, shape, path, without), what + ": possible");
          expect(with.estimated_step_us > without.estimated_step_us || !possible, what + ": products cost");
          with.estimated_step_us = without.estimated_step_us;
          expect(same(with, without), what + ": another division");
          if (dtype == LSTMCORE_CUDA_FLOAT64)
            expect(refusal(device, spec, shape, path).find("path: float64") == 0, what + ": float64");
          spec.has_proj_clip = 1;
          spec.proj_clip = 0.3;
          expect(!refusal(device, spec, shape, path).empty(), what + ": clip");
          if (dtype != LSTMCORE_CUDA_FLOAT64)
            expect(refusal(device, spec, shape, path).find("path: proj_clip") == 0, what + ": reason");
          expect(make_plan(device, spec, shape.T, shape.N, 0).path == LSTMCORE_CUDA_STEPWISE,
                 what + ": clip, choice");
        }
  // Where a step is nearly all waiting, the path that does not wait for two launches more.
  for (const Shape& shape : {Shape{100, 1, 100, 512, 256}, Shape{200, 8, 40, 300, 77}})
    for (const int dtype : {LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_FLOAT16, LSTMCORE_CUDA_BFLOAT16})
      expect(make_plan(device_of(kGpus[5]), spec_of(shape, dtype), shape.T, shape.N, 0).path >
                 LSTMCORE_CUDA_STEPWISE,
             text(kGpus[5], shape, dtype, 0) + ": persistent");
}

// The largest H of one row that a path takes. On the way up nothing is left out.
std::int64_t largest(const Gpu& gpu, int dtype, int path) {
  std::int64_t found = 0;
  for (std::int64_t H = 2; H <= 4096; ++H) {
    const Shape shape{50, 1, 64, H};
    lstmcore_cuda_plan plan{};
    if (!try_plan(device_of(gpu), spec_of(shape, dtype), shape, path, plan)) continue;
    expect(found == 0 || found == H - 1, text(gpu, shape, dtype, path) + ": a gap below");
    found = H;
  }
  return found;
}

// What fits: at least what fits today, at most what registers and shared memory hold at all.
void check_capacity() {
  const Gpu &h100 = kGpus[5], &a100 = kGpus[0], &slice = kGpus[10], &rtx5090 = kGpus[9];
  const struct {
    const Gpu& gpu;
    int dtype, path;
    std::int64_t least;
  } kRows[] = {
      {h100, LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_BLOCK, 64},
      {h100, LSTMCORE_CUDA_FLOAT16, LSTMCORE_CUDA_BLOCK, 64},
      {h100, LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_CLUSTER, 512},
      {h100, LSTMCORE_CUDA_BFLOAT16, LSTMCORE_CUDA_CLUSTER, 640},
      {h100, LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_GRID, 1280},
      {h100, LSTMCORE_CUDA_BFLOAT16, LSTMCORE_CUDA_GRID, 2048},
      {a100, LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_GRID, 1024},
      {a100, LSTMCORE_CUDA_FLOAT16, LSTMCORE_CUDA_GRID, 1536},
      {slice, LSTMCORE_CUDA_FLOAT16, LSTMCORE_CUDA_GRID, 512},
      {rtx5090, LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_CLUSTER, 128},
  };
  for (const auto& row : kRows) {
    const std::int64_t H = largest(row.gpu, row.dtype, row.path);
    const std::string what = std::string(row.gpu.name) + " dtype" + std::to_string(row.dtype) + " path" +
                             std::to_string(row.path) + ": H up to " + std::to_string(H);
    std::printf("%s\n", what.c_str());
    const int blocks = row.path == LSTMCORE_CUDA_BLOCK     ? 1
                       : row.path == LSTMCORE_CUDA_CLUSTER ? row.gpu.max_cluster
                                                           : row.gpu.multiprocessors;
    const double chip = double(blocks) * (256 + row.gpu.shared_kb) * 1024;
    expect(H >= row.least, what + ", once it was " + std::to_string(row.least));
    expect(4.0 * double(H) * double(H) * double(dtype_bytes(row.dtype)) <= chip,
           what + ", more than there is");
  }
  lstmcore_cuda_plan plan{};
  const Shape shape{5, 1, 4, 100};
  expect(!try_plan(device_of(a100), spec_of(shape, 0), shape, LSTMCORE_CUDA_CLUSTER, plan),
         "A100 has no clusters");
  expect(!try_plan(device_of(h100, false), spec_of(shape, 0), shape, LSTMCORE_CUDA_GRID, plan),
         "a grid that cannot wait for itself");
}

// R with a value of its own at every place: each lands once, in a lane of 16 or 32 bits; the rest is zeros.
void check_packing(std::int64_t H, int units, int dtype) {
  const std::string what =
      "packing H" + std::to_string(H) + " units" + std::to_string(units) + " dtype" + std::to_string(dtype);
  const bool wide = dtype == LSTMCORE_CUDA_FLOAT32;
  const Tiling tiling = make_tiling(H, units, wide ? 4 : 2);
  expect(tiling.slices * tiling.slice_length >= H && tiling.words % 8 == 0, what + ": tiling");
  // 16-bit types tell few values apart: those of the gate rows and of K in turn.
  for (const bool by_k : {false, true}) {
    std::vector<float> R(std::size_t(H * 4 * H));
    std::vector<int> want(4096, 0), got(4096, 0);
    for (std::int64_t k = 0; k < H; ++k)
      for (std::int64_t column = 0; column < 4 * H; ++column) {
        const std::int64_t value = wide ? k * 4 * H + column + 1 : (by_k ? k : column) % 127 + 1;
        R[std::size_t(k * 4 * H + column)] = float(value);
        ++want[std::size_t(value % 4096)];
      }
    const std::vector<std::uint32_t> packed = pack_recurrent(tiling, H, R.data(), dtype);
    expect(packed.size() == std::size_t(tiling.blocks) * std::size_t(tiling.words) * kThreads,
           what + ": size");
    std::vector<char> seen(wide ? R.size() + 1 : 0, 0);
    for (const std::uint32_t word : packed) {
      float lanes[2] = {bits_to_float(word), 0};
      if (dtype == LSTMCORE_CUDA_FLOAT16)
        lanes[0] = low_half(word, float16{}), lanes[1] = high_half(word, float16{});
      if (dtype == LSTMCORE_CUDA_BFLOAT16)
        lanes[0] = low_half(word, bfloat16{}), lanes[1] = high_half(word, bfloat16{});
      for (const float lane : lanes) {
        if (lane == 0) continue;
        const auto value = std::size_t(lane);
        ++got[value % 4096];
        if (wide) expect(value < seen.size() && !seen[value], what + ": twice");
        if (wide && value < seen.size()) seen[value] = 1;
      }
    }
    expect(got == want, what + ": a weight is missing or there twice");
  }
}

// What the kernel reads: the share of the thread that has this gate row and this slice of K.
void check_places(std::int64_t H, int units) {
  const Tiling tiling = make_tiling(H, units, 4);
  std::vector<float> R(std::size_t(H * 4 * H));
  for (std::size_t at = 0; at < R.size(); ++at) R[at] = float(at + 1);
  const std::vector<std::uint32_t> packed = pack_recurrent(tiling, H, R.data(), LSTMCORE_CUDA_FLOAT32);
  for (std::int64_t unit = 0; unit < H; ++unit)
    for (int gate = 0; gate < 4; ++gate)
      for (std::int64_t k = 0; k < H; ++k) {
        const std::int64_t block = unit / units, row = unit % units * 4 + gate, i = k % tiling.slice_length;
        const std::int64_t thread = (k / tiling.slice_length * tiling.row_tiles + row / 32) * 32 + row % 32;
        const std::int64_t at = ((block * (tiling.words / 4) + i / 4) * kThreads + thread) * 4 + i % 4;
        expect(bits_to_float(packed[std::size_t(at)]) == R[std::size_t((k * 4 + gate) * H + unit)],
               "place of unit " + std::to_string(unit) + " k " + std::to_string(k));
      }
}

}  // namespace

int main() {
  check_plans();
  check_dependence();
  check_projection();
  check_capacity();
  for (const std::int64_t H : {1, 2, 7, 8, 9, 31, 33, 65, 130})
    for (const int units : {8, 16, 32, 64}) {
      for (const int dtype : {LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_FLOAT16, LSTMCORE_CUDA_BFLOAT16})
        check_packing(H, units, dtype);
      check_places(H, units);
    }
  for (const int path : {-1, 5}) {
    lstmcore_cuda_plan plan{};
    const Shape shape{5, 1, 4, 10};
    expect(!try_plan(device_of(kGpus[0]), spec_of(shape, 0), shape, path, plan), "no such path");
  }
  std::printf("%ld checks, %d failures\n", checks, failures);
  return failures != 0;
}
