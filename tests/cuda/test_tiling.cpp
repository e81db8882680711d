// How the persistent kernels divide the work, on the host: every weight is packed once, every cell has one
// owner, and the kernel is the one that the planner should take.
#include <map>

#include "harness.h"
#include "persistent_kernel.h"
#include "persistent_mma.h"

using namespace lstmcore;
using namespace lstmcore::cuda;

namespace {

std::string describe(const Tiling& tiling, std::int64_t H, int dtype) {
  return std::string(tiling.mma ? "mma" : "fma") + " H" + std::to_string(H) + " units" +
         std::to_string(tiling.units) + " dtype" + std::to_string(dtype);
}

// Exactly what the dtype stores, and not 0: a weight that no other has, or with 16 bits no other nearby.
float weight(std::uint32_t index, int dtype) {
  if (dtype == LSTMCORE_CUDA_FLOAT32) return float(index + 1);
  const auto bits = std::uint16_t(index % 31001 + 1);
  return dtype == LSTMCORE_CUDA_FLOAT16 ? load(float16{bits}) : load(bfloat16{bits});
}

void check_packing(const Tiling& tiling, std::int64_t H, int dtype, int math) {
  std::vector<float> R;
  std::map<std::uint32_t, int> wanted, found;
  for (std::uint32_t k = 0; k < 4 * H * H; ++k) {
    R.push_back(weight(k, dtype));
    ++wanted[dtype == LSTMCORE_CUDA_FLOAT32 ? float_to_bits(R.back()) : k % 31001 + 1];
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

// The chunks of all row tiles one after the other, as many to each warp but for one; and of the partial sums,
// one after the other too, where a warp's first one is and where those of a row tile begin and end.
void check_shares(const Tiling& tiling, std::int64_t H, int dtype) {
  const std::string name = describe(tiling, H, dtype);
  const int all = tiling.row_tiles * tiling.tile_chunks;
  std::vector<int> sums(std::size_t(tiling.row_tiles), 0);
  int next = 0, next_sum = 0;
  for (const Share& share : tiling.shares) {
    expect(share.tile * tiling.tile_chunks + share.in_tile == next,
           name + ": begins where the last one ends");
    expect(share.chunks == all / kWarps || share.chunks == all / kWarps + 1, name + ": evenly dealt out");
    expect(share.chunks * tiling.chunk_words <= tiling.words, name + ": words of a thread");
    expect(share.sum == next_sum, name + ": the first sum of a warp");
    for (int tile = -1; next < (share.tile * tiling.tile_chunks + share.in_tile) + share.chunks; ++next)
      if (next / tiling.tile_chunks != tile) {
        tile = next / tiling.tile_chunks;
        expect(next_sum >= tiling.first_sum[tile] && next_sum < tiling.first_sum[tile + 1],
               name + ": a sum is its row tile's");
        ++sums[std::size_t(tile)];
        ++next_sum;
      }
  }
  expect(next == all, name + ": every chunk");
  expect(next_sum == tiling.sums && tiling.first_sum[tiling.row_tiles] == tiling.sums, name + ": every sum");
  for (const int times : sums)
    expect(tiling.several_tiles() ? times == 1 || times == 2 : times == tiling.tile_warps,
           name + ": sums of a row tile");
}

// As the kernel deals them out, thread by thread.
template <class O, bool SEVERAL>
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
        const MmaOwner<O, SEVERAL> owner(args, block, group);
        owner.each([&](int tile, int column, const auto& cell, int place) {
          if (cell.real) ++owners[{cell.n, cell.unit}];
          ++places[place];
          for (int sum = tiling.first_sum[tile]; sum < tiling.first_sum[tile + 1]; ++sum)
            ++partials[owner.partial(sum, column)];
        });
      }
      inside = inside && partials.rbegin()->first < tiling.sums * rows * kTileUnits &&
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

// The same of the kernel of fused multiply-adds, whose threads have cells of one unit.
void check_fma_owners(const Tiling& tiling, std::int64_t H, int rows) {
  std::map<std::pair<int, int>, int> owners;
  std::map<int, int> places;
  for (unsigned thread = 0; thread < unsigned(kThreads); ++thread) {
    emulator::state.thread.x = thread;
    const FmaOwner owner(tiling);
    owner.each(rows, [&](int row, int place) {
      if (owner.own_unit < tiling.units) ++owners[{row, owner.own_unit}];
      ++places[place];
    });
  }
  const std::string name = describe(tiling, H, 0) + " rows" + std::to_string(rows);
  bool once = owners.size() == std::size_t(rows) * std::size_t(tiling.units);
  for (const auto& owner : owners) once = once && owner.second == 1;
  for (const auto& times : places) once = once && times.second == 1;
  expect(once, name + ": every cell has one owner, and a place of its own");
  expect(places.rbegin()->first < tiling.cells(rows) * kThreads, name + ": places that shared_bytes counts");
}

void check_tilings(std::int64_t H, int units) {
  for (const int dtype : {LSTMCORE_CUDA_FLOAT32, LSTMCORE_CUDA_FLOAT16, LSTMCORE_CUDA_BFLOAT16}) {
    const int bytes = int(dtype_bytes(dtype));
    const Tiling mma = make_mma_tiling(H, units, bytes);
    check_packing(mma, H, dtype, LSTMCORE_CUDA_TF32X3);
    check_shares(mma, H, dtype);
    expect(mma.h_stride % 32 == 16, describe(mma, H, dtype) + ": rows half of the banks apart");
    expect(
        mma.h_stride >= mma.tile_chunks * mma.chunk_words && mma.tile_chunks * mma.chunk_words >= mma.h_words,
        describe(mma, H, dtype) + ": room for all of h");
    for (const int rows : {8, 16, 32})
      if (mma.several_tiles())
        check_owners<float16, true>(mma, H, 21, rows);
      else
        check_owners<float16, false>(mma, H, 21, rows);
    for (const int rows : {1, 4, 8}) {
      const Tiling fma = make_tiling(H, units, bytes, rows);
      check_shares(fma, H, dtype);
      expect(fma.h_stride >= H, describe(fma, H, dtype) + ": room for all of h");
      if (rows == 1) check_packing(fma, H, dtype, LSTMCORE_CUDA_IEEE);
      if (fma.several_tiles() || rows * units <= kThreads) check_fma_owners(fma, H, rows);
    }
  }
}

void check_layouts() {
  for (const std::int64_t H : {1, 9, 33, 70})
    for (const int units : {8, 16, 32, 64}) check_tilings(H, units);
  for (const std::int64_t H : {65, 72, 97, 128, 129, 151, 192, 207, 256})
    check_tilings(H, int(H + 7) / 8 * 8);
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
