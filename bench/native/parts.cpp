// The parts of a call on their own: the matrix product, the activations, and sharing a phase.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cpu/isa.h"
#include "cpu/kernel.h"
#include "cpu/pool.h"
#include "lstmcore/runtime.h"
#include "peak.h"
#include "registered.h"

namespace lstmcore {
namespace bench {
namespace {

// z = x W + b of `rows` rows, for one share of 64 units at I inputs.
void gemm_core(benchmark::State& state) {
  const auto& kernels = cpu::kernels_of<float>(cpu::kernels_named(current_isa()));
  const std::int64_t rows = state.range(0), I = state.range(1), panels = 64 / kernels.lanes;
  const std::int64_t width = panels * cpu::kGates * kernels.lanes;
  const std::vector<float> W(static_cast<std::size_t>(I * width), 0.5f),
      b(static_cast<std::size_t>(width), 0.1f), x(static_cast<std::size_t>(rows * I), 0.25f);
  std::vector<float> z(static_cast<std::size_t>(rows * width));
  cpu::StepArgs<float> args = {};
  args.I = I;
  args.H = args.P = panels * kernels.lanes;
  args.W = W.data();
  args.bias = b.data();
  std::vector<cpu::Row<float>> each(static_cast<std::size_t>(rows));
  for (std::int64_t n = 0; n < rows; ++n) {
    each[static_cast<std::size_t>(n)] = {};
    each[static_cast<std::size_t>(n)].x = x.data() + n * I;
    each[static_cast<std::size_t>(n)].z = z.data() + n * width;
  }
  for (auto _ : state) {
    kernels.input_gates(args, each.data(), rows, {0, panels, false});
    benchmark::ClobberMemory();
  }
  const double operations = 2.0 * static_cast<double>(rows * I * width);
  state.counters["GFLOP/s"] =
      benchmark::Counter(operations / 1e9, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["share_of_peak"] =
      benchmark::Counter(operations / peak(1), benchmark::Counter::kIsIterationInvariantRate);
}

void activation(benchmark::State& state, Activation which) {
  const auto& kernels = cpu::kernels_of<float>(cpu::kernels_named(current_isa()));
  std::vector<float> in(4096), out(in.size());
  for (std::size_t k = 0; k < in.size(); ++k) in[k] = static_cast<float>(k) / 256 - 8;
  for (auto _ : state) {
    kernels.activate(which, in.data(), out.data(), static_cast<std::int64_t>(in.size()));
    benchmark::ClobberMemory();
  }
  state.counters["ns_per_value"] =
      benchmark::Counter(static_cast<double>(in.size()) / 1e9,
                         benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

// Phases that do nothing: what sharing a time step costs.
void barrier(benchmark::State& state, int threads) {
  constexpr std::int64_t kPhases = 1000;
  const auto nothing = [](const void*, std::int64_t, int) {};
  for (auto _ : state) cpu::run_phases(threads, kPhases, nothing, nullptr);
  state.counters["ns_per_phase"] = benchmark::Counter(
      kPhases / 1e9, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

}  // namespace

void register_parts(int threads) {
  benchmark::RegisterBenchmark("gemm_core/rows_I", gemm_core)
      ->Args({1, 256})
      ->Args({6, 256})
      ->Args({48, 256})
      ->Args({96, 1024})
      ->UseRealTime();
  for (const auto& [name, which] :
       {std::pair("tanh", Activation::tanh), std::pair("sigmoid", Activation::sigmoid),
        std::pair("elu", Activation::elu)})
    benchmark::RegisterBenchmark((std::string("activation/") + name).c_str(), activation, which)
        ->UseRealTime();
  benchmark::RegisterBenchmark(("barrier/threads:" + std::to_string(threads)).c_str(), barrier, threads)
      ->UseRealTime();
}

}  // namespace bench
}  // namespace lstmcore
