// What this machine can do with a number of threads (OMP_NUM_THREADS), as JSON: float32 GFLOP/s of fused
// multiply-adds in registers, and GB/s of reading by the KiB that each thread reads again and again. The best
// of several passes.
#include <omp.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

#if defined(__AVX512F__)
typedef float Vec __attribute__((vector_size(64)));
#else
typedef float Vec __attribute__((vector_size(32)));
#endif
constexpr int kLanes = sizeof(Vec) / sizeof(float), kChains = 12;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class Work>
double best_seconds(int passes, const Work& work) {
  double best = 1e9;
  for (int pass = 0; pass < passes; ++pass) {
    double begun = 0, ended = 0;
#pragma omp parallel
    {
#pragma omp barrier
#pragma omp master
      begun = now();
      work();
#pragma omp barrier
#pragma omp master
      ended = now();
    }
    if (ended - begun < best) best = ended - begun;
  }
  return best;
}

void multiply_add(long n) {
  Vec sum[kChains], a = {}, b = {};
  for (int c = 0; c < kChains; ++c)
    sum[c] = Vec{} + static_cast<float>(c);  // equal chains would be computed once
  for (int lane = 0; lane < kLanes; ++lane) a[lane] = 0.999f, b[lane] = 0.001f;
  for (long k = 0; k < n; ++k) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sum[c] = sum[c] * a + b;
    asm volatile("" : "+x"(a), "+x"(b));
  }
  Vec total = {};
  for (const Vec& s : sum) total += s;
  volatile float sink = total[0];
  (void)sink;
}

void read(const std::vector<float>& data, long times) {
  const auto* p = reinterpret_cast<const Vec*>(
      (reinterpret_cast<std::size_t>(data.data()) + sizeof(Vec) - 1) / sizeof(Vec) * sizeof(Vec));
  const long n = static_cast<long>(data.size()) / kLanes - 8;
  Vec sum[8] = {};
  for (long time = 0; time < times; ++time) {
    for (long k = 0; k + 8 <= n; k += 8) {
#pragma GCC unroll 8
      for (int c = 0; c < 8; ++c) sum[c] += p[k + c];
    }
    asm volatile("" : : : "memory");
  }
  Vec total = {};
  for (const Vec& s : sum) total += s;
  volatile float sink = total[0];
  (void)sink;
}

}  // namespace

int main() {
  const int threads = omp_get_max_threads();
  constexpr long kAdds = 1000000;
  const double seconds = best_seconds(15, [] { multiply_add(kAdds); });
  std::printf("{\"threads\": %d, \"gflops\": %.1f, \"bandwidth\": {", threads,
              2.0 * kAdds * kChains * kLanes * threads / seconds / 1e9);
  const int sizes[] = {16, 32, 64, 128, 256, 512, 768, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 262144};
  for (const int kib : sizes) {
    const long times = kib < 65536 ? 131072 / kib : 1;
    std::vector<std::vector<float>> data(threads);
#pragma omp parallel
    data[omp_get_thread_num()].assign(static_cast<std::size_t>(kib) * 256 + 16, 1.0f);
    const double taken = best_seconds(kib < 65536 ? 9 : 4, [&] { read(data[omp_get_thread_num()], times); });
    std::printf("%s\"%d\": %.1f", kib == 16 ? "" : ", ", kib, 1024.0 * kib * times * threads / taken / 1e9);
    std::fflush(stdout);
  }
  std::printf("}}\n");
}
