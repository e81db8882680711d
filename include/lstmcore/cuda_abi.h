// The C interface between lstmcore and liblstmcore_cuda.so, which is a library of its own so that the CPU
// build needs nothing of CUDA. `lstmcore_cuda_api` is its only symbol.
//
// Sizes T N I H P and the order of gates are those of lstmcore/lstm.h. Every function returns an
// lstmcore_cuda_status; where it is not 0, `error` (LSTMCORE_CUDA_ERROR_SIZE characters) holds the reason.
// Device memory and streams are those of the CUDA runtime; a stream is a cudaStream_t of the device at hand.
//
// A stream may be one that is being captured into a CUDA graph: what is enqueued is in the graph then,
// complete with the host memory that was read. The graph may run any number of times, beside other calls and
// graphs. It keeps its layers, even destroyed ones; the arrays are the caller's to keep.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LSTMCORE_CUDA_ABI 5
#define LSTMCORE_CUDA_ERROR_SIZE 512

typedef enum {
  LSTMCORE_CUDA_OK = 0,
  LSTMCORE_CUDA_INVALID = 1,        // an argument
  LSTMCORE_CUDA_OUT_OF_MEMORY = 2,  // of the device or the host
  LSTMCORE_CUDA_UNAVAILABLE = 3,    // no driver, no device, no cuBLAS
  LSTMCORE_CUDA_FAILED = 4          // a status of CUDA or cuBLAS
} lstmcore_cuda_status;

// Of weights, inputs and outputs. Sums and the cell state are float32, or float64 with float64.
typedef enum {
  LSTMCORE_CUDA_FLOAT32 = 0,
  LSTMCORE_CUDA_FLOAT64 = 1,
  LSTMCORE_CUDA_FLOAT16 = 2,
  LSTMCORE_CUDA_BFLOAT16 = 3
} lstmcore_cuda_dtype;

// How a time loop runs. AUTO: the planner's choice.
typedef enum {
  LSTMCORE_CUDA_AUTO = 0,
  LSTMCORE_CUDA_STEPWISE = 1,  // products and a kernel of the gates per step
  LSTMCORE_CUDA_BLOCK = 2,     // one multiprocessor holds R, for each group of rows
  LSTMCORE_CUDA_CLUSTER = 3,   // one cluster holds R, for each group of rows
  LSTMCORE_CUDA_GRID = 4       // many multiprocessors hold R, for each group of rows
} lstmcore_cuda_path;

// How the products of float32 are taken. Path STEPWISE and the inputs' product take TF32X3 as IEEE.
typedef enum {
  LSTMCORE_CUDA_IEEE = 0,
  LSTMCORE_CUDA_TF32 = 1,   // factors may be rounded to TensorFloat-32, 11 bits
  LSTMCORE_CUDA_TF32X3 = 2  // factors may be sums of two such numbers: 21 bits or more
} lstmcore_cuda_math;

// What a persistent kernel multiplies with.
typedef enum {
  LSTMCORE_CUDA_KERNEL_AUTO = 0,
  LSTMCORE_CUDA_KERNEL_FMA = 1,
  LSTMCORE_CUDA_KERNEL_MMA = 2  // tensor cores; not float32 with IEEE
} lstmcore_cuda_kernel;

typedef struct {
  char name[256];
  int compute_major, compute_minor;
  int multiprocessors;
  int max_cluster;          // blocks in one cluster, of the whole GPU; 1 where there are no clusters
  int cooperative;          // whether a grid can wait for itself
  size_t shared_per_block;  // bytes that one block can have
  size_t memory;            // bytes
} lstmcore_cuda_device;

typedef struct {
  int64_t input_size, num_units, num_proj;  // num_proj 0: no projection
  int peepholes;
  double forget_bias;
  int has_cell_clip, has_proj_clip;
  double cell_clip, proj_clip;
  int activation, recurrent_activation;  // lstmcore::Activation
  int dtype;                             // lstmcore_cuda_dtype
  int math;                              // lstmcore_cuda_math
  // For tests: lstmcore_cuda_kernel, and batch rows of a group. 0: the planner's choice.
  int kernel, rows_per_group;
} lstmcore_cuda_spec;

// Host memory, dense, gates side by side in the order i, j, f, o.
typedef struct {
  const double* W;    // [I, 4H]
  const double* R;    // [P, 4H]
  const double* b;    // [4H]
  const double* p_i;  // [H] each, where the spec has peepholes
  const double* p_f;
  const double* p_o;
  const double* projection;  // [H, P] where the spec has one
} lstmcore_cuda_weights;

// A [T, N, width] device array whose innermost axis is dense; strides in elements.
typedef struct {
  void* data;
  int64_t step_stride, row_stride;
} lstmcore_cuda_sequence;

// Device memory; x and y share none but in a call of one step, as longer ones may go by chunks of steps.
// States are [N, H] and [N, P]; c is float32 (float64 with float64), h of the dtype.
typedef struct {
  int64_t steps, batch;
  lstmcore_cuda_sequence x;      // either stride is that of dense rows: x is [T, N, I] or [N, T, I]
  lstmcore_cuda_sequence y;      // [T, N, P]; data may be null
  lstmcore_cuda_sequence c_seq;  // [T, N, H], float32 as c; data may be null
  const void *c0, *h0;           // null: zeros
  const int64_t* lengths;        // HOST memory, [N] in 0..T; null: all T
  void *c_n, *h_n;
  int reverse;
  int path;  // lstmcore_cuda_path
  void* stream;
} lstmcore_cuda_forward;

// Arrays [T, N, width] on the device.
typedef struct {
  int64_t steps, batch, width;
  lstmcore_cuda_sequence to, a, b;  // b.data may be null
  int to_dtype, a_dtype;            // lstmcore_cuda_dtype; b has that of `to`
  const int64_t* lengths;           // HOST memory, [N] in 0..T; null: all T
} lstmcore_cuda_sum;

// What the planner chose.
typedef struct {
  int path;
  int kernel;  // lstmcore_cuda_kernel, of a persistent path
  int rows_per_group, groups, blocks_per_group, units_per_block, words_per_thread;
  size_t shared_bytes, exchange_bytes;
  double estimated_step_us;
} lstmcore_cuda_plan;

// A device with what the layers of a model share there: cuBLAS, scratch memory, and an order of calls.
typedef struct lstmcore_cuda_context lstmcore_cuda_context;
typedef struct lstmcore_cuda_layer lstmcore_cuda_layer;

typedef struct {
  int version;
  int (*device_count)(int* count, char* error);
  int (*device)(int index, lstmcore_cuda_device* device, char* error);
  // `cublas` is the file of cuBLASLt to load; null: one that the process has loaded or that the loader finds,
  // and products by the library's own kernel where there is none; "none": by that kernel.
  int (*create_context)(int device, const char* cublas, lstmcore_cuda_context** context, char* error);
  void (*destroy_context)(lstmcore_cuda_context* context);  // after its layers
  int (*create_layer)(lstmcore_cuda_context* context, const lstmcore_cuda_spec* spec,
                      const lstmcore_cuda_weights* weights, lstmcore_cuda_layer** layer, char* error);
  void (*destroy_layer)(lstmcore_cuda_layer* layer);
  // Enqueues on args->stream and returns. Calls of one context follow one another, also on the device.
  int (*forward)(lstmcore_cuda_layer* layer, const lstmcore_cuda_forward* args, char* error);
  int (*plan)(const lstmcore_cuda_device* device, const lstmcore_cuda_spec* spec, int64_t steps,
              int64_t batch, int path, lstmcore_cuda_plan* plan, char* error);
  // Waits for the stream; then reports a persistent kernel of the context that gave up waiting.
  int (*synchronize)(lstmcore_cuda_context* context, void* stream, char* error);
  // Memory that is ordered by a stream. Allocated where the stream is being captured, it is ordered by
  // nothing, and stays until it is released and the graph is gone as well.
  int (*allocate)(int device, size_t bytes, void* stream, void** memory, char* error);
  int (*release)(int device, void* memory, void* stream, char* error);
  // Host memory may be changed when it returns, and cannot be copied where the stream is being captured.
  int (*copy)(int device, void* to, const void* from, size_t bytes, void* stream, char* error);
  // Later work of `stream` waits for the present work of `earlier`. Where only `stream` is being captured,
  // the host waits; where only `earlier` is, nothing does.
  int (*stream_wait)(int device, void* stream, void* earlier, char* error);
  // Of the cuBLAS in use, as 10000 major + 100 minor + patch; 0 without one.
  int (*cublas_version)(const lstmcore_cuda_context* context, int* version, char* error);
  // The device that an address is on; -1 where it is no device memory.
  int (*device_of)(const void* memory, int* device, char* error);
  // `rows` runs of `bytes` each, which begin `to_pitch` and `from_pitch` bytes apart.
  int (*copy_rows)(int device, void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t bytes,
                   size_t rows, void* stream, char* error);
  // packed [total, row_bytes] to padded [N, T, row_bytes] with zeros past each row's end, and back. `offsets`
  // is HOST memory, [N + 1], where the rows begin in `packed`; no row is longer than T. row_bytes is even.
  int (*pad)(int device, void* padded, const void* packed, const int64_t* offsets, int64_t batch,
             int64_t steps, size_t row_bytes, void* stream, char* error);
  int (*unpad)(int device, const void* padded, void* packed, const int64_t* offsets, int64_t batch,
               int64_t steps, size_t row_bytes, void* stream, char* error);
  // to = a + b, or a converted where there is no b, at the steps within the lengths; `to` may be b or a.
  int (*add)(int device, const lstmcore_cuda_sum* sum, void* stream, char* error);
  // Marks a place in the work of a stream: `event` is null, or one from an earlier call that is used again,
  // and null afterwards where there is nothing to wait for. Events stay until the process ends.
  int (*record)(int device, void* stream, void** event, char* error);
  // Whether the device has passed the place.
  int (*passed)(int device, void* event, int* passed, char* error);
  // The device of a context as it found it: a part of a GPU may have smaller clusters than the whole.
  int (*context_device)(const lstmcore_cuda_context* context, lstmcore_cuda_device* device, char* error);
} lstmcore_cuda_api_v1;

// Null where the library does not have this version.
const void* lstmcore_cuda_api(int version);

#ifdef __cplusplus
}
#endif
