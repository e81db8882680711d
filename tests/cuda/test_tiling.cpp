// How the persistent kernels divide the work, on the host: every weight is packed once, every cell has one
// owner, and the kernel is the one that the planner should take.
#include <map>

#include "harness.h"
#include "persistent_mma.h"

using namespace lstmcore;
using namespace lstmcore::cuda;

namespace {

std::string describe(const Tiling& tiling, std::int64_t H, int dtype) {
  return std::string(tiling.mma ? "mma" : "fma") + " H" + std::to_string(H) + " units" +
         std::to_string(tiling.units) + " dtype" + std::to_string(dtype);
}

// A weight that no other has, from 1 on, and exactly what the dtype stores.
float weight(std::uint32_t index, int dtype) {
  if (dtype == LSTMCORE_CUDA_FLOAT32) return float(index);
  return dtype == LSTMCORE_CUDA_FLOAT16 ? load(float16{std::uint16_t(index)})
                                        : load(bfloat16{std::uint16_t(index)});
}

void check_packing(const Tiling& tiling, std::int64_t H, int dtype, int math) {
  std::vector<float> R;
  std::map<std::uint32_t, int> wanted, found;
  for (std::uint32_t k = 0; k < 4 * H * H; ++k) {
    R.push_back(weight(k + 1, dtype));
    ++wanted[dtype == LSTMCORE_CUDA_FLOAT32 ? float_to_bits(R.back()) : k + 1];
  }
  const auto packed = pack_recurrent(tiling, H, R.data(), dtype, math);
  const std::string name = describe(tiling, H, dtype);
  expect(packed.size() == std::size_t(tiling.blocks) * tiling.words * kThreads, name + ": size");
  for (const std::uint32_t word : packed)
    if (dtype == LSTMCORE_CUDA_FLOAT32)
      ++found[word];
    else
      ++found[word & 0xffff], ++found[word >> 16];
  found.erase(0);
  expect(found == wanted, name + ": every weight once");
}

// As the kernel deals them out, thread by thread.
template <class O>
void check_owners(const Tiling& tiling, std::int64_t H, std::int64_t N, int rows) {
  PersistentArgs args{};
  args.T = 1;
  args.N = N;
  args.H = H;
  args.tiling = tiling;
  args.rows = rows;
  std::map<std::pair<std::int64_t, std::int64_t>, int> owners;
  bool inside = true;
  for (int group = 0; group * rows < N; ++group)
    for (int block = 0; block < tiling.blocks; ++block) {
      std::map<int, int> partials, places;
      for (unsigned thread = 0; thread < unsigned(kThreads); ++thread) {
        emulator::state.thread.x = thread;
        const MmaOwner<O> owner(args, block, group);
        owner.each([&](int column, const auto& cell, int place) {
          if (cell.real) ++owners[{cell.n, cell.unit}];
          ++places[place];
          for (int slice = 0; slice < tiling.slices; ++slice) ++partials[owner.partial(slice, column)];
        });
      }
      inside = inside && partials.rbegin()->first < tiling.slices * rows * tiling.units &&
               places.rbegin()->first < tiling.cells(rows) * kThreads;
      for (const auto& times : partials) inside = inside && times.second == 1;
      for (const auto& times : places) inside = inside && times.second == 1;
    }
  bool once = owners.size() == std::size_t(N * H);
  for (const auto& owner : owners) once = once && owner.second == 1;
  const std::string name = "H" + std::to_string(H) + " N" + std::to_string(N) + " units" +
                           std::to_string(tiling.units) + " rows" + std::to_string(rows);
  expect(once, name + ": every cell has one owner");
  expect(inside, name + ": places of their own, in what shared_bytes counts");
}

void check_layouts() {
  for (const std::int64_t H : {1, 9, 33, 70})
    for (const int units : {8, 16, 32, 64})
      for (const int dtype : {LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_FLOAT16, LSTMCORE_CUDA_BFLOAT16}) {
        const int bytes = int(dtype_bytes(dtype));
        const Tiling mma = make_mma_tiling(H, units, bytes);
        check_packing(make_tiling(H, units, bytes), H, dtype, LSTMCORE_CUDA_IEEE);
        check_packing(mma, H, dtype, LSTMCORE_CUDA_TF32X3);
        expect(mma.h_stride % 32 == 16, describe(mma, H, dtype) + ": rows half of the banks apart");
        expect(mma.padded_k() >= H && mma.h_stride >= mma.slices * mma.words,
               describe(mma, H, dtype) + ": room for all of h");
        for (const int rows : {8, 16, 32}) check_owners<float16>(mma, H, 21, rows);
      }
}

void check_rounding() {
  const float R[4] = {1 + 0x1p-11f, 1 - 0x1p-13f, -3 - 0x1p-12f, 0x1p-140f};
  const std::uint32_t wanted[4] = {float_to_bits(1 + 0x1p-10f), float_to_bits(1), float_to_bits(-3), 0};
  const auto packed =
      pack_recurrent(make_mma_tiling(1, 8, 4), 1, R, LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_TF32);
  const std::size_t at[4] = {0, 1, std::size_t(kThreads) * 4, std::size_t(kThreads) * 4 + 1};
  for (int gate = 0; gate < 4; ++gate) expect(packed[at[gate]] == wanted[gate], "tf32 rounds to nearest");
}

lstmcore_cuda_plan plan(const lstmcore_cuda_spec& spec, std::int64_t batch, int path, int* status) {
  lstmcore_cuda_device h100{"H100", 9, 0, 132, 16, 1, 227 * 1024, std::size_t{80} << 30};
  lstmcore_cuda_plan result{};
  *status = api->plan(&h100, &spec, 100, batch, path, &result, error);
  return result;
}

void check_choice() {
  lstmcore_cuda_spec spec{};
  spec.input_size = spec.num_units = 512;
  int status = 0;
  for (const std::int64_t batch : {8, 32, 64}) {
    const std::string rows = std::to_string(batch) + " rows";
    spec.math = LSTMCORE_CUDA_IEEE;
    for (const int dtype : {LSTMCORE_CUDA_FLOAT16, LSTMCORE_CUDA_BFLOAT16}) {
      spec.dtype = dtype;
      expect(plan(spec, batch, LSTMCORE_CUDA_AUTO, &status).kernel == LSTMCORE_CUDA_KERNEL_MMA,
             "16 bits on tensor cores: " + rows);
    }
    spec.dtype = LSTMCORE_CUDA_FLOAT32;
    for (int path = LSTMCORE_CUDA_AUTO; path <= LSTMCORE_CUDA_GRID; ++path)
      expect(plan(spec, batch, path, &status).kernel != LSTMCORE_CUDA_KERNEL_MMA, "ieee is exact: " + rows);
    spec.math = LSTMCORE_CUDA_TF32;
    expect(plan(spec, batch, LSTMCORE_CUDA_AUTO, &status).kernel == LSTMCORE_CUDA_KERNEL_MMA,
           "tf32 on tensor cores: " + rows);
  }
  spec.num_units = 256;
  for (const int kernel : {LSTMCORE_CUDA_KERNEL_FMA, LSTMCORE_CUDA_KERNEL_MMA})
    for (const int rows : {1, 4, 8, 16, 32}) {
      spec.kernel = kernel;
      spec.rows_per_group = rows;
      const lstmcore_cuda_plan chosen = plan(spec, 9, LSTMCORE_CUDA_CLUSTER, &status);
      const bool possible = kernel == LSTMCORE_CUDA_KERNEL_FMA ? rows <= 8 : rows >= 8;
      expect((status == 0) == possible, "a forced kernel and rows");
      if (possible) expect(chosen.kernel == kernel && chosen.rows_per_group == rows, "as forced");
    }
  spec.math = LSTMCORE_CUDA_IEEE;
  spec.kernel = LSTMCORE_CUDA_KERNEL_MMA;
  spec.rows_per_group = 0;
  plan(spec, 9, LSTMCORE_CUDA_GRID, &status);
  expect(status == LSTMCORE_CUDA_INVALID, "ieee on tensor cores is refused");
}

void tests(lstmcore_cuda_context*) {
  check_layouts();
  check_rounding();
  check_choice();
}

}  // namespace

int main() { return run_tests(tests); }
