#include "peak.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cpu/isa.h"
#include "cpu/kernel.h"
#include "lstmcore/runtime.h"

namespace lstmcore {
namespace bench {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The least of several passes in which all threads do the same.
double best_seconds(int threads, int passes, const std::function<void(int)>& work) {
  double best = 1e9;
  for (int pass = 0; pass < passes; ++pass) {
    const double begun = now();
    std::vector<std::thread> others;
    for (int thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
    work(0);
    for (std::thread& other : others) other.join();
    best = std::min(best, now() - begun);
  }
  return best;
}

template <int Bytes>
struct Vector {
  typedef float Type __attribute__((vector_size(Bytes)));
};

// One function for each width of a level's vectors.
#define LSTMCORE_LOOPS(LEVEL, BYTES)                                            \
  LEVEL void read_##BYTES(const float* data, long size, long times) {           \
    using Vec = Vector<BYTES>::Type;                                            \
    const auto* p = reinterpret_cast<const Vec*>(data);                         \
    Vec sum[8] = {};                                                            \
    for (long time = 0; time < times; ++time) {                                 \
      for (long k = 0; k + 8 <= size / (BYTES / 4); k += 8) {                   \
        _Pragma("GCC unroll 8") for (int c = 0; c < 8; ++c) sum[c] += p[k + c]; \
      }                                                                         \
      asm volatile("" : : : "memory");                                          \
    }                                                                           \
    float total = 0;                                                            \
    for (const Vec& s : sum) total += s[0];                                     \
    volatile float sink = total;                                                \
    (void)sink;                                                                 \
  }

#if defined(__x86_64__)
LSTMCORE_LOOPS(__attribute__((target("avx512f,fma"))), 64)
LSTMCORE_LOOPS(__attribute__((target("avx2,fma"))), 32)
#endif
LSTMCORE_LOOPS(, 16)

using Read = void (*)(const float*, long, long);

Read read_loop() {
#if defined(__x86_64__)
  const std::string isa = current_isa();
  if (isa == "avx512") return read_64;
  if (isa == "avx2") return read_32;
#endif
  return read_16;
}

}  // namespace

double peak(int threads) {
  static std::map<int, double> known;
  if (const auto found = known.find(threads); found != known.end()) return found->second;
  const auto& kernels = cpu::kernels_of<float>(cpu::kernels_named(current_isa()));
  constexpr std::int64_t kMultiplyAdds = 500000000;
  const double seconds = best_seconds(threads, 7, [&](int) { kernels.multiply_adds(kMultiplyAdds); });
  return known[threads] = 2.0 * static_cast<double>(kMultiplyAdds) * threads / seconds;
}

double bandwidth(int threads, std::size_t bytes) {
  constexpr std::size_t kLeast = 16 << 10, kMost = 256 << 20;
  bytes = std::min(std::max(bytes, kLeast), kMost);
  static std::map<std::pair<int, std::size_t>, double> known;
  double& result = known[{threads, bytes}];
  if (result > 0) return result;
  const Read read = read_loop();
  const long size = static_cast<long>(bytes / sizeof(float));
  const long times = std::max<long>(1, (256L << 20) / static_cast<long>(bytes));
  std::vector<std::vector<float>> data(static_cast<std::size_t>(threads));
  for (auto& own : data) own.assign(bytes / sizeof(float) + 16, 1.0f);
  const double seconds = best_seconds(threads, 5, [&](int thread) {
    float* p = data[static_cast<std::size_t>(thread)].data();
    while (reinterpret_cast<std::size_t>(p) % 64) ++p;
    read(p, size, times);
  });
  return result = static_cast<double>(bytes) * static_cast<double>(times) * threads / seconds;
}

namespace {

// The longer of computing and of reading the weights so many times.
double longer(int threads, double multiply_adds, double weights, double reads) {
  const double bytes = 4 * weights;
  return std::max(2 * multiply_adds / peak(threads),
                  reads * bytes / bandwidth(threads, static_cast<std::size_t>(bytes / threads)));
}

}  // namespace

double step_floor(int threads, double N, double I, double H) {
  return longer(threads, 4 * N * H * (I + H), 4 * H * (I + H), 1);
}

double sequence_floor(int threads, double T, double N, double I, double H) {
  return longer(threads, T * 4 * N * H * I, 4 * H * I, 1) + longer(threads, T * 4 * N * H * H, 4 * H * H, T);
}

}  // namespace bench
}  // namespace lstmcore
