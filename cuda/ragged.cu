#include <algorithm>

#include "host_data.h"
#include "launch.h"
#include "ragged.h"

namespace lstmcore {
namespace cuda {
namespace {

constexpr std::int64_t kMaxBlocks = 4096;

// Memory that the stream's later work cannot be given before the work so far is done. Where the stream is being
// captured, the graph allocates and frees it.
class StreamMemory {
 public:
  StreamMemory(std::size_t bytes, cudaStream_t stream) : stream_(stream) {
    LSTMCORE_CUDA_CHECK(cudaMallocAsync(&data_, bytes, stream));
  }
  ~StreamMemory() { cudaFreeAsync(data_, stream_); }
  StreamMemory(const StreamMemory&) = delete;
  StreamMemory& operator=(const StreamMemory&) = delete;
  void* get() const { return data_; }

 private:
  void* data_ = nullptr;
  cudaStream_t stream_;
};

template <class Word>
struct MoveArgs {
  Word *padded, *packed;
  const std::int64_t* offsets;
  std::int64_t T, width, count;  // words of a row; words of the padded array
  bool to_padded;
};

template <class Word>
__global__ void __launch_bounds__(kStepThreads) move_kernel(const __grid_constant__ MoveArgs<Word> args) {
  const std::int64_t step = std::int64_t(gridDim.x) * kStepThreads;
  for (std::int64_t k = std::int64_t(blockIdx.x) * kStepThreads + threadIdx.x; k < args.count; k += step) {
    const std::int64_t row = k / args.width, n = row / args.T, t = row % args.T;
    const bool inside = t < args.offsets[n + 1] - args.offsets[n];
    Word* packed = args.packed + (args.offsets[n] + t) * args.width + k % args.width;
    if (args.to_padded)
      args.padded[k] = inside ? *packed : Word(0);
    else if (inside)
      *packed = args.padded[k];
  }
}

template <class Word>
void move(const Ragged& rows, bool to_padded, cudaStream_t stream) {
  const std::int64_t width = std::int64_t(rows.row_bytes / sizeof(Word));
  const std::int64_t count = rows.N * rows.T * width;
  if (!count) return;
  const std::size_t bytes = std::size_t(rows.N + 1) * sizeof(std::int64_t);
  const StreamMemory offsets(bytes, stream);
  write_from_host(offsets.get(), rows.offsets, bytes, stream);
  const MoveArgs<Word> args{static_cast<Word*>(rows.padded),
                            static_cast<Word*>(rows.packed),
                            static_cast<const std::int64_t*>(offsets.get()),
                            rows.T,
                            width,
                            count,
                            to_padded};
  launch(move_kernel<Word>, {blocks_for(std::min(count, kMaxBlocks * kStepThreads))}, stream, args);
}

void move_rows(const Ragged& rows, bool to_padded, cudaStream_t stream) {
  if (rows.row_bytes % 4)
    move<std::uint16_t>(rows, to_padded, stream);
  else
    move<std::uint32_t>(rows, to_padded, stream);
}

}  // namespace

void pad(const Ragged& rows, cudaStream_t stream) { move_rows(rows, true, stream); }
void unpad(const Ragged& rows, cudaStream_t stream) { move_rows(rows, false, stream); }

}  // namespace cuda
}  // namespace lstmcore
