// The C interface: exceptions become statuses here.
#include <cstdio>
#include <memory>
#include <new>

#include "array_memory.h"
#include "capture.h"
#include "graph_keeping.h"
#include "layer.h"
#include "plan.h"
#include "ragged.h"

using namespace lstmcore::cuda;

struct lstmcore_cuda_context {
  std::shared_ptr<Context> context;
};

struct lstmcore_cuda_layer {
  struct Parts {
    std::shared_ptr<Context> context;  // gone after the layer
    std::unique_ptr<Layer> layer;
  };
  std::shared_ptr<Parts> parts;  // with graphs that the layer was captured into
};

namespace {

template <class F>
int guarded(char* error, const F& function) {
  const auto report = [error](int status, const char* text) {
    std::snprintf(error, LSTMCORE_CUDA_ERROR_SIZE, "%s", text);
    return status;
  };
  try {
    function();
    return LSTMCORE_CUDA_OK;
  } catch (const Error& e) {
    return report(e.status, e.what());
  } catch (const std::invalid_argument& e) {
    return report(LSTMCORE_CUDA_INVALID, e.what());
  } catch (const std::bad_alloc&) {
    return report(LSTMCORE_CUDA_OUT_OF_MEMORY, "out of host memory");
  } catch (const std::exception& e) {
    return report(LSTMCORE_CUDA_FAILED, e.what());
  }
}

// Sizes are checked by the caller, who knows the arguments' names; what is checked here would crash.
void check_forward(const lstmcore_cuda_forward& args) {
  if (args.steps < 0 || args.batch < 0 || args.batch > INT32_MAX || args.steps > INT32_MAX)
    throw std::invalid_argument("steps and batch: expected sizes up to 2^31 - 1");
  for (std::int64_t n = 0; args.lengths && n < args.batch; ++n)
    if (args.lengths[n] < 0 || args.lengths[n] > args.steps)
      throw std::invalid_argument("lengths[" + std::to_string(n) + "]: expected 0 to " +
                                  std::to_string(args.steps) + ", got " + std::to_string(args.lengths[n]));
}

// Where an address is; CUDA knows nothing of ordinary memory of the host.
cudaPointerAttributes attributes_of(const void* memory) {
  cudaPointerAttributes attributes{};
  LSTMCORE_CUDA_CHECK(cudaPointerGetAttributes(&attributes, memory));
  return attributes;
}

// A graph would read or write the host's memory whenever it is launched, when that may be gone.
void refuse_host_in_capture(const void* memory, cudaMemoryType type, cudaStream_t stream) {
  if (memory && type != cudaMemoryTypeDevice && type != cudaMemoryTypeManaged && capture_of(stream).active)
    throw Error(
        LSTMCORE_CUDA_INVALID,
        "stream: it is being captured, and nothing is copied to or from the host then: expected arrays "
        "on the GPU; lengths and offsets on the host");
}

int device_count(int* count, char* error) {
  return guarded(error, [&] { LSTMCORE_CUDA_CHECK(cudaGetDeviceCount(count)); });
}

int device(int index, lstmcore_cuda_device* result, char* error) {
  return guarded(error, [&] { *result = describe_device(index); });
}

int create_context(int index, const char* cublas, lstmcore_cuda_context** context, char* error) {
  return guarded(error, [&] {
    int before = 0;
    LSTMCORE_CUDA_CHECK(cudaGetDevice(&before));
    const DeviceGuard guard(before);  // the context's constructor changes it
    *context = new lstmcore_cuda_context{std::make_shared<Context>(index, cublas)};
  });
}

void destroy_context(lstmcore_cuda_context* context) {
  const RelaxedCapture relaxed;
  delete context;
}

int create_layer(lstmcore_cuda_context* context, const lstmcore_cuda_spec* spec,
                 const lstmcore_cuda_weights* weights, lstmcore_cuda_layer** layer, char* error) {
  return guarded(error, [&] {
    auto parts = std::make_shared<lstmcore_cuda_layer::Parts>();
    parts->context = context->context;
    parts->layer.reset(make_layer(*context->context, *spec, *weights));
    *layer = new lstmcore_cuda_layer{std::move(parts)};
  });
}

void destroy_layer(lstmcore_cuda_layer* layer) {
  const RelaxedCapture relaxed;
  delete layer;
}

int forward(lstmcore_cuda_layer* layer, const lstmcore_cuda_forward* args, char* error) {
  return guarded(error, [&] {
    check_forward(*args);
    const DeviceGuard guard(layer->parts->context->index());
    const Capture capture = open_capture_of(static_cast<cudaStream_t>(args->stream));
    if (capture.active) keep_for_graph(capture.graph, layer->parts);
    layer->parts->layer->forward(*args);
  });
}

int plan(const lstmcore_cuda_device* device, const lstmcore_cuda_spec* spec, int64_t steps, int64_t batch,
         int path, lstmcore_cuda_plan* result, char* error) {
  return guarded(error, [&] { *result = make_plan(*device, *spec, steps, batch, path); });
}

int synchronize(lstmcore_cuda_context* context, void* stream, char* error) {
  return guarded(error, [&] {
    const DeviceGuard guard(context->context->index());
    if (capture_of(static_cast<cudaStream_t>(stream)).active)
      throw Error(LSTMCORE_CUDA_INVALID, "stream: it is being captured, and cannot be waited for");
    LSTMCORE_CUDA_CHECK(cudaStreamSynchronize(static_cast<cudaStream_t>(stream)));
    release_late_arrays(context->context->index());
    context->context->check_fault();
  });
}

int allocate(int index, size_t bytes, void* stream, void** memory, char* error) {
  return guarded(error, [&] {
    const DeviceGuard guard(index);
    *memory = allocate_array(index, bytes, static_cast<cudaStream_t>(stream));
  });
}

int release(int index, void* memory, void* stream, char* error) {
  return guarded(error, [&] {
    const DeviceGuard guard(index);
    release_array(index, memory, static_cast<cudaStream_t>(stream));
  });
}

int copy(int index, void* to, const void* from, size_t bytes, void* stream, char* error) {
  return guarded(error, [&] {
    if (!bytes) return;
    const DeviceGuard guard(index);
    const auto on = static_cast<cudaStream_t>(stream);
    const cudaMemoryType types[] = {attributes_of(to).type, attributes_of(from).type};
    refuse_host_in_capture(to, types[0], on);
    refuse_host_in_capture(from, types[1], on);
    LSTMCORE_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, on));
    // CUDA itself waits where the host's memory is ordinary, not where it is pinned.
    if (types[0] == cudaMemoryTypeHost || types[1] == cudaMemoryTypeHost)
      LSTMCORE_CUDA_CHECK(cudaStreamSynchronize(on));
  });
}

int stream_wait(int index, void* stream, void* earlier, char* error) {
  return guarded(error, [&] {
    const DeviceGuard guard(index);
    wait_for_stream(static_cast<cudaStream_t>(stream), static_cast<cudaStream_t>(earlier));
  });
}

int cublas_version(const lstmcore_cuda_context* context, int* version, char* error) {
  return guarded(error, [&] { *version = context->context->products().cublas_version(); });
}

int device_of(const void* memory, int* index, char* error) {
  return guarded(error, [&] {
    const cudaPointerAttributes attributes = attributes_of(memory);
    const bool there = attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
    *index = there ? attributes.device : -1;
  });
}

int copy_rows(int index, void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t bytes,
              size_t rows, void* stream, char* error) {
  return guarded(error, [&] {
    if (!bytes || !rows) return;
    const DeviceGuard guard(index);
    LSTMCORE_CUDA_CHECK(cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, bytes, rows, cudaMemcpyDefault,
                                          static_cast<cudaStream_t>(stream)));
  });
}

int pad(int index, void* padded, const void* packed, const int64_t* offsets, int64_t batch, int64_t steps,
        size_t row_bytes, void* stream, char* error) {
  return guarded(error, [&] {
    const DeviceGuard guard(index);
    lstmcore::cuda::pad({padded, const_cast<void*>(packed), offsets, batch, steps, row_bytes},
                        static_cast<cudaStream_t>(stream));
  });
}

int unpad(int index, const void* padded, void* packed, const int64_t* offsets, int64_t batch, int64_t steps,
          size_t row_bytes, void* stream, char* error) {
  return guarded(error, [&] {
    const DeviceGuard guard(index);
    lstmcore::cuda::unpad({const_cast<void*>(padded), packed, offsets, batch, steps, row_bytes},
                          static_cast<cudaStream_t>(stream));
  });
}

int add(int index, const lstmcore_cuda_sum* sum, void* stream, char* error) {
  return guarded(error, [&] {
    const DeviceGuard guard(index);
    lstmcore::cuda::add(*sum, static_cast<cudaStream_t>(stream));
  });
}

int record(int index, void* stream, void** event, char* error) {
  return guarded(error, [&] {
    const DeviceGuard guard(index);
    const auto on = static_cast<cudaStream_t>(stream);
    auto* recorded = static_cast<Event*>(*event);
    *event = nullptr;
    std::unique_ptr<Event> owned(recorded);
    if (capture_of(on).active) return;
    try {
      if (!owned) owned = std::make_unique<Event>();
      LSTMCORE_CUDA_CHECK(cudaEventRecord(owned->get(), on));
    } catch (const std::exception&) {
      LSTMCORE_CUDA_CHECK(cudaStreamSynchronize(on));
      return;
    }
    *event = owned.release();
  });
}

int passed(int index, void* event, int* result, char* error) {
  return guarded(error, [&] {
    const DeviceGuard guard(index);
    const cudaError_t status = cudaEventQuery(static_cast<Event*>(event)->get());
    *result = status != cudaErrorNotReady;
    if (*result)
      check(status, "cudaEventQuery");
    else
      cudaGetLastError();
  });
}

int context_device(const lstmcore_cuda_context* context, lstmcore_cuda_device* result, char* error) {
  return guarded(error, [&] { *result = context->context->device(); });
}

const lstmcore_cuda_api_v1 kApi = {LSTMCORE_CUDA_ABI,
                                   device_count,
                                   device,
                                   create_context,
                                   destroy_context,
                                   create_layer,
                                   destroy_layer,
                                   forward,
                                   plan,
                                   synchronize,
                                   allocate,
                                   release,
                                   copy,
                                   stream_wait,
                                   cublas_version,
                                   device_of,
                                   copy_rows,
                                   pad,
                                   unpad,
                                   add,
                                   record,
                                   passed,
                                   context_device};

}  // namespace

extern "C" __attribute__((visibility("default"))) const void* lstmcore_cuda_api(int version) {
  return version == LSTMCORE_CUDA_ABI ? &kApi : nullptr;
}
