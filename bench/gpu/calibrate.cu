// Measures what the planner's table of costs rests on: barriers, exchanges of h, launches, memory. Prints a
// line "name value unit" for each, as soon as it is known; a part that fails prints "name error reason".
#include <cooperative_groups.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "exchange.h"

using namespace lstmcore::cuda;
namespace cg = cooperative_groups;

namespace {

constexpr int kBlockThreads = 256;
constexpr int kRounds = 400;                    // exchanges in one launch
constexpr std::uint64_t kPatience = 500000000;  // nanoseconds
constexpr std::uint32_t kAbsent = 0xffffffffu;

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

struct Memory {
  explicit Memory(std::size_t bytes) : bytes(bytes) { check(cudaMalloc(&data, bytes), "cudaMalloc"); }
  ~Memory() { cudaFree(data); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  void* data = nullptr;
  std::size_t bytes;
};

// Median milliseconds of `work` on the stream, after two runs that do not count.
template <class F>
float milliseconds(cudaStream_t stream, const F& work, int runs = 11) {
  cudaEvent_t start, end;
  check(cudaEventCreate(&start), "cudaEventCreate");
  check(cudaEventCreate(&end), "cudaEventCreate");
  std::vector<float> times;
  for (int k = 0; k < runs + 2; ++k) {
    check(cudaEventRecord(start, stream), "cudaEventRecord");
    work();
    check(cudaEventRecord(end, stream), "cudaEventRecord");
    check(cudaEventSynchronize(end), "cudaEventSynchronize");
    float time = 0;
    check(cudaEventElapsedTime(&time, start, end), "cudaEventElapsedTime");
    if (k >= 2) times.push_back(time);
  }
  cudaEventDestroy(start);
  cudaEventDestroy(end);
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

void print(const std::string& name, double value, const char* unit) {
  std::printf("%s %.6g %s\n", name.c_str(), value, unit);
  std::fflush(stdout);
}

template <class F>
void part(const std::string& name, const F& measure) {
  try {
    measure();
  } catch (const std::exception& error) {
    std::printf("%s error %s\n", name.c_str(), error.what());
    std::fflush(stdout);
  }
}

// The launch of a kernel whose blocks are all there at once, or are clusters.
template <class... Parameters>
void launch(void (*kernel)(Parameters...), int blocks, int cluster, std::size_t shared, cudaStream_t stream,
            Parameters... parameters) {
  cudaLaunchAttribute attribute{};
  if (cluster > 1) {
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {unsigned(cluster), 1, 1};
  } else {
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(unsigned(blocks));
  config.blockDim = dim3(kBlockThreads);
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  check(cudaLaunchKernelEx(&config, kernel, parameters...), "launch");
}

__global__ void empty_kernel() {}

__global__ void grid_sync_kernel(int rounds) {
  for (int k = 0; k < rounds; ++k) cg::this_grid().sync();
}

// Every block publishes its share of `words` words and reads all of them: a step's exchange through L2.
__global__ void __launch_bounds__(kBlockThreads)
    all_gather_kernel(std::uint32_t* memory, int words, int rounds, int* fault) {
  const int share = words / int(gridDim.x), first = int(blockIdx.x) * share;
  Wait wait(kPatience);
  std::uint32_t value = 1;
  for (int k = 0; k < rounds; ++k) {
    std::uint32_t* at = memory + std::int64_t(k) * words;
    for (int i = int(threadIdx.x); i < share; i += kBlockThreads) relaxed_store(at + first + i, value);
    std::uint32_t sum = 0;
    bool late = false;
    for (int i = int(threadIdx.x); i < words / 4; i += kBlockThreads) {
      uint4 v = relaxed_load(reinterpret_cast<const uint4*>(at) + i);
      while ((v.x == kAbsent || v.y == kAbsent || v.z == kAbsent || v.w == kAbsent) && !late) {
        late = wait.too_long();
        v = relaxed_load(reinterpret_cast<const uint4*>(at) + i);
      }
      sum += v.x + v.y + v.z + v.w;
    }
    if (late) *fault = 1;
    if (__syncthreads_or(late)) return;
    value = sum == kAbsent ? 1 : sum & 0xffff;  // the next round needs this one
  }
}

// Reads the same `quads` over and over, past L1.
__global__ void __launch_bounds__(kBlockThreads)
    read_l2_kernel(const uint4* memory, int quads, int rounds, int* sink) {
  std::uint32_t sum = 0;
  for (int k = 0; k < rounds; ++k)
    for (int i = int(blockIdx.x) * kBlockThreads + int(threadIdx.x); i < quads;
         i += int(gridDim.x) * kBlockThreads) {
      const uint4 v = __ldcg(memory + (i + k * 977) % quads);
      sum += v.x ^ v.y ^ v.z ^ v.w;
    }
  if (sum == 12345) *sink = 1;
}

// Empty where the device has no clusters; main does not launch them there.
__global__ void cluster_sync_kernel(int rounds) {
#ifdef LSTMCORE_HAVE_CLUSTERS
  for (int k = 0; k < rounds; ++k) cluster_sync();
#endif
}

// The same exchange between the blocks of a cluster: words into every peer's shared memory.
__global__ void __launch_bounds__(kBlockThreads) push_kernel(int words, int blocks, int rounds, int* fault) {
#ifdef LSTMCORE_HAVE_CLUSTERS
  auto* barriers = reinterpret_cast<std::uint64_t*>(dynamic_shared());
  auto* buffers = reinterpret_cast<std::uint32_t*>(barriers + 2);
  const int share = words / blocks, first = cluster_rank() * share;
  if (threadIdx.x == 0) {
    mbarrier_init(&barriers[0]);
    mbarrier_init(&barriers[1]);
  }
  cluster_sync();
  Wait wait(kPatience);
  std::uint32_t value = 1;
  for (int k = 0; k < rounds; ++k) {
    std::uint32_t* own = buffers + (k & 1) * words;
    if (threadIdx.x == 0) mbarrier_expect(&barriers[k & 1], words * 4);
    for (int i = int(threadIdx.x); i < share; i += kBlockThreads)
      for (int peer = 0; peer < blocks; ++peer) cluster_store(own + first + i, &barriers[k & 1], peer, value);
    bool late = false;
    while (!mbarrier_try_wait(&barriers[k & 1], k >> 1 & 1) && !late)
      late = wait.too_long();
    if (late) *fault = 1;
    if (__syncthreads_or(late)) break;
    value = own[threadIdx.x % unsigned(words)] + 1;
  }
  cluster_sync();
#endif
}

__device__ __forceinline__ std::uint64_t clocks() {
  std::uint64_t count;
  asm volatile("mov.u64 %0, %%clock64;" : "=l"(count));
  return count;
}

// times[0]: nanoseconds, times[1]: clocks, of rounds in which a block does what BlockExchange does.
__global__ void __launch_bounds__(kBlockThreads) block_kernel(int rounds, std::uint64_t* times) {
  auto* words = reinterpret_cast<std::uint32_t*>(dynamic_shared());
  const std::uint64_t start = nanoseconds(), first = clocks();
  std::uint32_t value = threadIdx.x;
  for (int k = 0; k < rounds; ++k) {
    words[(k & 1) * kBlockThreads + int(threadIdx.x)] = value;
    __syncthreads();
    value += words[(k & 1) * kBlockThreads + (int(threadIdx.x) + 37) % kBlockThreads];
  }
  if (threadIdx.x == 0) {
    times[0] = nanoseconds() - start;
    times[1] = clocks() - first;
    times[2] = value;
  }
}

// times[1]: clocks of `rounds` times four products in each of a block's warps, which do not wait for one another.
template <class O>
__global__ void __launch_bounds__(kBlockThreads) products_kernel(int rounds, std::uint64_t* times) {
  float sums[4][4] = {};
  const uint4 a = make_uint4(threadIdx.x, threadIdx.x + 1, threadIdx.x + 2, threadIdx.x + 3);
  __syncthreads();
  const std::uint64_t first = clocks();
#pragma unroll 4
  for (int k = 0; k < rounds; ++k)
#pragma unroll
    for (int i = 0; i < 4; ++i) mma(sums[i], a, threadIdx.x, threadIdx.x + unsigned(i), O{});
  __syncthreads();
  const std::uint64_t last = clocks();
  float sum = 0;
  for (int i = 0; i < 16; ++i) sum += sums[i / 4][i % 4];
  if (threadIdx.x == 0) times[1] = last - first;
  if (sum == 12345.0f) times[2] = 1;
}

void measure_blocks(cudaStream_t stream) {
  constexpr int kTurns = 20000;
  const Memory times(3 * 8);
  const auto run = [&](auto kernel, std::uint64_t (&result)[3]) {
    for (int k = 0; k < 3; ++k)  // the clocks go up
      launch(kernel, 1, 1, 2 * kBlockThreads * 4, stream, kTurns, times.as<std::uint64_t>());
    check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    check(cudaMemcpy(result, times.data, sizeof result, cudaMemcpyDeviceToHost), "cudaMemcpy");
  };
  std::uint64_t result[3];
  part("block_exchange", [&] {
    run(block_kernel, result);
    print("clock", double(result[1]) / double(result[0]), "GHz");
    print("block_exchange", double(result[0]) * 1e-3 / kTurns, "us");
  });
  // Two warps share a part of the multiprocessor.
  const auto clocks_of = [&](const char* name, auto kernel) {
    part(name, [&] {
      run(kernel, result);
      print(name, double(result[1]) / (2.0 * 4 * kTurns), "clocks");
    });
  };
  clocks_of("mma_bfloat16", products_kernel<bfloat16>);
  clocks_of("mma_float16", products_kernel<float16>);
  clocks_of("mma_tf32", products_kernel<tf32>);
}

void measure_launches(cudaStream_t stream) {
  constexpr int kLaunches = 500;
  const auto launches = [&] {
    for (int k = 0; k < kLaunches; ++k) empty_kernel<<<1, 32, 0, stream>>>();
  };
  print("launch_stream", milliseconds(stream, launches) * 1e3 / kLaunches, "us");
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  launches();
  check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  check(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  const float time =
      milliseconds(stream, [&] { check(cudaGraphLaunch(executable, stream), "cudaGraphLaunch"); });
  print("graph_node", time * 1e3 / kLaunches, "us");
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}

void measure_grids(cudaStream_t stream, int multiprocessors) {
  for (const int blocks : {16, 32, 64, 128}) {
    if (blocks > multiprocessors) continue;
    const std::string name = "_blocks_" + std::to_string(blocks);
    part("grid_sync" + name, [&] {
      const float time =
          milliseconds(stream, [&] { launch(grid_sync_kernel, blocks, 1, 0, stream, kRounds); });
      print("grid_sync" + name, time * 1e3 / kRounds, "us");
    });
    for (const int words : {1024, 8192})
      part("all_gather" + name, [&] {
        const Memory memory(std::size_t(kRounds) * std::size_t(words) * 4), fault(4);
        check(cudaMemsetAsync(fault.data, 0, 4, stream), "cudaMemsetAsync");
        const auto fill = [&] {
          check(cudaMemsetAsync(memory.data, 0xff, memory.bytes, stream), "cudaMemsetAsync");
        };
        const float filling = milliseconds(stream, fill);
        const float time = milliseconds(stream, [&] {
          fill();
          launch(all_gather_kernel, blocks, 1, 0, stream, memory.as<std::uint32_t>(), words, kRounds,
                 fault.as<int>());
        });
        int failed = 0;
        check(cudaMemcpy(&failed, fault.data, 4, cudaMemcpyDeviceToHost), "cudaMemcpy");
        if (failed) throw std::runtime_error("waited too long");
        print("all_gather" + name + "_words_" + std::to_string(words), (time - filling) * 1e3 / kRounds,
              "us");
      });
  }
}

void measure_clusters(cudaStream_t stream) {
  for (const auto kernel :
       {reinterpret_cast<const void*>(push_kernel), reinterpret_cast<const void*>(cluster_sync_kernel)})
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1),
          "cudaFuncSetAttribute");
  for (const int blocks : {2, 4, 8, 16}) {
    const std::string name = "_blocks_" + std::to_string(blocks);
    part("cluster_sync" + name, [&] {
      const float time =
          milliseconds(stream, [&] { launch(cluster_sync_kernel, blocks, blocks, 0, stream, kRounds); });
      print("cluster_sync" + name, time * 1e3 / kRounds, "us");
    });
    for (const int words : {256, 1024, 4096})
      part("cluster_push" + name, [&] {
        const Memory fault(4);
        check(cudaMemsetAsync(fault.data, 0, 4, stream), "cudaMemsetAsync");
        const std::size_t shared = 16 + std::size_t(2 * words) * 4;
        const float time = milliseconds(stream, [&] {
          launch(push_kernel, blocks, blocks, shared, stream, words, blocks, kRounds, fault.as<int>());
        });
        int failed = 0;
        check(cudaMemcpy(&failed, fault.data, 4, cudaMemcpyDeviceToHost), "cudaMemcpy");
        if (failed) throw std::runtime_error("waited too long");
        print("cluster_push" + name + "_words_" + std::to_string(words), time * 1e3 / kRounds, "us");
      });
  }
  const void* push = reinterpret_cast<const void*>(push_kernel);
  for (const int kilobytes : {16, 100, 200, 226}) {
    const std::string name = "active_clusters_of_16_with_" + std::to_string(kilobytes) + "_kb";
    part(name, [&] {
      const int shared = kilobytes * 1024;
      check(cudaFuncSetAttribute(push, cudaFuncAttributeMaxDynamicSharedMemorySize, shared),
            "cudaFuncSetAttribute");
      cudaLaunchAttribute attribute{};
      attribute.id = cudaLaunchAttributeClusterDimension;
      attribute.val.clusterDim = {16, 1, 1};
      cudaLaunchConfig_t config{};
      config.gridDim = dim3(16 * 16);
      config.blockDim = dim3(kBlockThreads);
      config.dynamicSmemBytes = std::size_t(shared);
      config.attrs = &attribute;
      config.numAttrs = 1;
      int count = 0;
      check(cudaOccupancyMaxActiveClusters(&count, push, &config), "cudaOccupancyMaxActiveClusters");
      print(name, count, "clusters");
    });
  }
}

void measure_memory(cudaStream_t stream, int multiprocessors, std::size_t free_bytes) {
  part("hbm_copy", [&] {
    const std::size_t bytes = std::min<std::size_t>(std::size_t{1} << 30, free_bytes / 4);
    const Memory from(bytes), to(bytes);
    const float time = milliseconds(stream, [&] {
      check(cudaMemcpyAsync(to.data, from.data, bytes, cudaMemcpyDeviceToDevice, stream), "cudaMemcpyAsync");
    });
    print("hbm_copy", 2.0 * double(bytes) / (time * 1e9), "TB/s");
  });
  for (const int megabytes : {8, 32})
    part("l2_read", [&] {
      const Memory memory(std::size_t(megabytes) << 20), sink(4);
      check(cudaMemsetAsync(memory.data, 1, memory.bytes, stream), "cudaMemsetAsync");
      constexpr int kReads = 20;
      const int quads = int(memory.bytes / 16);
      const float time = milliseconds(stream, [&] {
        read_l2_kernel<<<unsigned(4 * multiprocessors), kBlockThreads, 0, stream>>>(memory.as<uint4>(), quads,
                                                                                    kReads, sink.as<int>());
        check(cudaGetLastError(), "read_l2_kernel");
      });
      print("l2_read_mb_" + std::to_string(megabytes), double(memory.bytes) * kReads / (time * 1e9), "TB/s");
    });
}

}  // namespace

int main() {
  try {
    cudaDeviceProp device{};
    check(cudaGetDeviceProperties(&device, 0), "cudaGetDeviceProperties");
    std::size_t free_bytes = 0, total = 0;
    check(cudaMemGetInfo(&free_bytes, &total), "cudaMemGetInfo");
    cudaStream_t stream;
    check(cudaStreamCreate(&stream), "cudaStreamCreate");
    print("multiprocessors", device.multiProcessorCount, "count");
    print("shared_per_block", double(device.sharedMemPerBlockOptin), "bytes");
    part("blocks", [&] { measure_blocks(stream); });
    part("launches", [&] { measure_launches(stream); });
    measure_grids(stream, device.multiProcessorCount);
    if (device.major >= 9) part("clusters", [&] { measure_clusters(stream); });
    measure_memory(stream, device.multiProcessorCount, free_bytes);
  } catch (const std::exception& error) {
    std::printf("calibrate error %s\n", error.what());
    return 1;
  }
  return 0;
}
