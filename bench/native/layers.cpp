// Steps and sequences through the public C++ API.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "lstmcore/lstm.h"
#include "peak.h"
#include "registered.h"

namespace lstmcore {
namespace bench {
namespace {

struct Shape {
  std::int64_t T, N, I, H;  // T = 1: a step
};

constexpr Shape kShapes[] = {
    {1, 1, 8, 8},        {1, 1, 40, 20},       {1, 1, 64, 64},      {1, 1, 128, 128},   {1, 1, 256, 256},
    {1, 1, 512, 512},    {1, 1, 1024, 1024},   {1, 8, 256, 256},    {1, 32, 256, 256},  {1, 64, 512, 512},
    {1, 10, 300, 128},   {1, 128, 1024, 1024}, {1, 256, 128, 128},  {100, 1, 64, 64},   {100, 1, 128, 128},
    {100, 1, 256, 256},  {100, 1, 512, 512},   {50, 1, 1024, 1024}, {100, 8, 256, 256}, {100, 32, 256, 256},
    {100, 64, 512, 512}, {50, 64, 1024, 1024}, {1000, 1, 40, 256},  {40, 10, 300, 128},
};

template <class T>
std::vector<T> random_values(std::int64_t size, double scale, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> uniform(-scale, scale);
  std::vector<T> values(static_cast<std::size_t>(size));
  for (T& value : values) value = static_cast<T>(uniform(generator));
  return values;
}

template <class T>
void run(benchmark::State& state, Shape shape, int threads) {
  const auto [steps, N, I, H] = shape;
  const double scale = std::sqrt(3.0 / static_cast<double>(I + H));
  const auto W = random_values<T>(I * 4 * H, scale, 1), R = random_values<T>(H * 4 * H, scale, 2),
             b = random_values<T>(4 * H, 0.3, 3), x = random_values<T>(steps * N * I, 1, 4);
  LstmSpec spec;
  spec.input_size = I;
  spec.num_units = H;
  LstmWeights<T> weights;
  weights.W = W.data();
  weights.R = R.data();
  weights.b = b.data();
  const Lstm<T> lstm(spec, weights);
  std::vector<T> y(static_cast<std::size_t>(steps * N * H)), c(static_cast<std::size_t>(N * H)), h(c);
  Workspace workspace;
  ForwardArgs<T> args;
  args.steps = steps;
  args.batch = N;
  args.x = {x.data(), N * I, I};
  args.c0 = c.data();
  args.h0 = h.data();
  args.y = {y.data(), N * H, H};
  args.c_n = c.data();
  args.h_n = h.data();
  args.threads = threads;
  args.workspace = &workspace;
  for (auto _ : state) lstm.forward(args);

  const auto per_second = benchmark::Counter::kIsIterationInvariantRate;
  const double operations = 8.0 * static_cast<double>(steps * N * H * (I + H));
  state.counters["GFLOP/s"] = benchmark::Counter(operations / 1e9, per_second);
  state.counters["GB/s"] = benchmark::Counter(
      static_cast<double>(sizeof(T)) * 4 * static_cast<double>(H * (I + steps * H)) / 1e9, per_second);
  if (sizeof(T) != sizeof(float)) return;  // the yardsticks are those of float32
  state.counters["share_of_peak"] = benchmark::Counter(operations / peak(threads), per_second);
  const auto as = [](std::int64_t size) { return static_cast<double>(size); };
  const double floor = steps == 1 ? step_floor(threads, as(N), as(I), as(H))
                                  : sequence_floor(threads, as(steps), as(N), as(I), as(H));
  state.counters["of_floor"] = benchmark::Counter(floor, per_second);  // 1: nothing is faster
}

}  // namespace

void register_layers(int threads) {
  for (const Shape& s : kShapes) {
    std::string name = s.T == 1 ? "step" : "sequence/T:" + std::to_string(s.T);
    name += "/N:" + std::to_string(s.N) + "/I:" + std::to_string(s.I) + "/H:" + std::to_string(s.H) +
            "/threads:" + std::to_string(threads);
    benchmark::RegisterBenchmark(("float32/" + name).c_str(), run<float>, s, threads)->UseRealTime();
    benchmark::RegisterBenchmark(("float64/" + name).c_str(), run<double>, s, threads)->UseRealTime();
  }
}

}  // namespace bench
}  // namespace lstmcore
