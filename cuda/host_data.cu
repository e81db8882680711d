#include "host_data.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "launch.h"

namespace lstmcore {
namespace cuda {
namespace {

constexpr std::size_t kWords = 512;

struct HostWords {
  std::uint32_t* to;
  int count;
  std::uint32_t words[kWords];
};

__global__ void __launch_bounds__(kStepThreads)
    write_words_kernel(const __grid_constant__ HostWords args) {
  for (int k = int(threadIdx.x); k < args.count; k += kStepThreads) args.to[k] = args.words[k];
}

}  // namespace

void write_from_host(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
  HostWords args{};
  for (std::size_t done = 0; done < bytes; done += kWords * 4) {
    const std::size_t part = std::min(bytes - done, kWords * 4);
    args.to = reinterpret_cast<std::uint32_t*>(static_cast<char*>(to) + done);
    args.count = int(part / 4);
    std::memcpy(args.words, static_cast<const char*>(from) + done, part);
    launch(write_words_kernel, {dim3(1)}, stream, args);
  }
}

}  // namespace cuda
}  // namespace lstmcore
