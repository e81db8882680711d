#include <algorithm>
#include <optional>
#include <stdexcept>
#include <type_traits>

#include "array_memory.h"
#include "dtypes.h"
#include "host_data.h"
#include "launch.h"
#include "ragged.h"

namespace lstmcore {
namespace cuda {
namespace {

constexpr std::int64_t kMaxBlocks = 4096;

// Memory that the stream's later work cannot be given before the work so far is done. Where the stream is
// being captured, the graph allocates and frees it.
class StreamMemory {
 public:
  StreamMemory(std::size_t bytes, cudaStream_t stream) : stream_(stream) {
    int device = 0;
    LSTMCORE_CUDA_CHECK(cudaGetDevice(&device));
    LSTMCORE_CUDA_CHECK(cudaMallocFromPoolAsync(&data_, bytes, pool_of(device), stream));
  }
  ~StreamMemory() { cudaFreeAsync(data_, stream_); }
  StreamMemory(const StreamMemory&) = delete;
  StreamMemory& operator=(const StreamMemory&) = delete;
  void* get() const { return data_; }

 private:
  void* data_ = nullptr;
  cudaStream_t stream_;
};

// Integers of the host, on the device.
class StreamIntegers {
 public:
  StreamIntegers(const std::int64_t* host, std::int64_t count, cudaStream_t stream)
      : memory_(std::size_t(count) * sizeof(*host), stream) {
    write_from_host(memory_.get(), host, std::size_t(count) * sizeof(*host), stream);
  }
  const std::int64_t* get() const { return static_cast<const std::int64_t*>(memory_.get()); }

 private:
  StreamMemory memory_;
};

dim3 blocks_of(std::int64_t count) { return blocks_for(std::min(count, kMaxBlocks * kStepThreads)); }

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
  const StreamIntegers offsets(rows.offsets, rows.N + 1, stream);
  const MoveArgs<Word> args{static_cast<Word*>(rows.padded),
                            static_cast<Word*>(rows.packed),
                            offsets.get(),
                            rows.T,
                            width,
                            count,
                            to_padded};
  launch(move_kernel<Word>, {blocks_of(count)}, stream, args);
}

void move_rows(const Ragged& rows, bool to_padded, cudaStream_t stream) {
  if (rows.row_bytes % 4)
    move<std::uint16_t>(rows, to_padded, stream);
  else
    move<std::uint32_t>(rows, to_padded, stream);
}

template <class T>
struct Strided {
  T* data;
  std::int64_t step, row;
  __device__ T& at(std::int64_t t, std::int64_t n, std::int64_t k) const {
    return data[t * step + n * row + k];
  }
};

template <class T>
Strided<T> strided(const lstmcore_cuda_sequence& sequence) {
  return {static_cast<T*>(sequence.data), sequence.step_stride, sequence.row_stride};
}

template <class To, class From>
struct AddArgs {
  Strided<To> to, b;
  Strided<From> a;
  const std::int64_t* lengths;
  std::int64_t N, width, count;
};

template <class To, class From>
__global__ void __launch_bounds__(kStepThreads)
    add_kernel(const __grid_constant__ AddArgs<To, From> args) {
  const std::int64_t step = std::int64_t(gridDim.x) * kStepThreads;
  for (std::int64_t i = std::int64_t(blockIdx.x) * kStepThreads + threadIdx.x; i < args.count; i += step) {
    const std::int64_t row = i / args.width, n = row % args.N, t = row / args.N, k = i % args.width;
    if (args.lengths && t >= args.lengths[n]) continue;
    Accumulator<To> sum = cuda::load(args.a.at(t, n, k));
    if (args.b.data) sum += cuda::load(args.b.at(t, n, k));
    args.to.at(t, n, k) = store<To>(sum);
  }
}

template <class To, class From>
void add_as(const lstmcore_cuda_sum& sum, cudaStream_t stream) {
  const std::int64_t count = sum.steps * sum.batch * sum.width;
  if (!count) return;
  std::optional<StreamIntegers> lengths;
  if (sum.lengths) lengths.emplace(sum.lengths, sum.batch, stream);
  const AddArgs<To, From> args{strided<To>(sum.to),
                               strided<To>(sum.b),
                               strided<From>(sum.a),
                               lengths ? lengths->get() : nullptr,
                               sum.batch,
                               sum.width,
                               count};
  launch(add_kernel<To, From>, {blocks_of(count)}, stream, args);
}

template <class F>
void with_type(int dtype, const F& function) {
  switch (dtype) {
    case LSTMCORE_CUDA_FLOAT32:
      return function(float{});
    case LSTMCORE_CUDA_FLOAT64:
      return function(double{});
    case LSTMCORE_CUDA_FLOAT16:
      return function(float16{});
    case LSTMCORE_CUDA_BFLOAT16:
      return function(bfloat16{});
  }
  throw std::invalid_argument("dtype: not one of lstmcore_cuda_dtype");
}

}  // namespace

void add(const lstmcore_cuda_sum& sum, cudaStream_t stream) {
  with_type(sum.to_dtype, [&](auto to) {
    with_type(sum.a_dtype, [&](auto from) {
      using To = decltype(to);
      using From = decltype(from);
      if constexpr (std::is_same_v<Accumulator<To>, Accumulator<From>>)
        add_as<To, From>(sum, stream);
      else
        throw std::invalid_argument("dtypes: float64 is added to float64 alone");
    });
  });
}

void pad(const Ragged& rows, cudaStream_t stream) { move_rows(rows, true, stream); }
void unpad(const Ragged& rows, cudaStream_t stream) { move_rows(rows, false, stream); }

}  // namespace cuda
}  // namespace lstmcore
