// What a test does to the emulator from outside: C functions, so that Python's ctypes finds them too.
#pragma once

#include <cstddef>

#define EMULATOR_EXPORT extern "C" __attribute__((visibility("default")))

// After `skip` more calls of a function of CUDA or cuBLAS by this name, the next `count` return `status`.
// "cudaMalloc" stands for cudaMallocAsync too.
EMULATOR_EXPORT void emulator_fail(const char* function, int skip, int count, int status);
EMULATOR_EXPORT void emulator_driver(int version);  // from now on: 1000 major + 10 minor
EMULATOR_EXPORT int emulator_overlaps();            // kernels that started before the one ahead, so far
// How much memory a device has from now on, what is allocated included; 0: as at first.
EMULATOR_EXPORT void emulator_limit_memory(std::size_t bytes);
EMULATOR_EXPORT std::size_t emulator_allocated();       // bytes of device memory
EMULATOR_EXPORT int emulator_allocations();             // pieces of device memory that are alive
EMULATOR_EXPORT void emulator_break(int status);        // what the next kernel leaves behind; 0 heals
EMULATOR_EXPORT int emulator_waits();                   // of a stream for an event, so far
EMULATOR_EXPORT int emulator_host_waits();              // of the host for a stream or event, so far
EMULATOR_EXPORT int emulator_events();                  // that are alive
EMULATOR_EXPORT void* emulator_pin(std::size_t bytes);  // pinned memory of the host; never freed
// From 1 to 0, or until the host waits for anything: events that are recorded are not passed.
EMULATOR_EXPORT void emulator_hold(int on);
// Streams are never destroyed. A blocking one waits for the default stream, which waits for it.
EMULATOR_EXPORT void* emulator_make_stream(int device);
EMULATOR_EXPORT void* emulator_make_blocking_stream(int device);
EMULATOR_EXPORT int emulator_wait(void* stream, void* earlier);  // by an event
// `mode`: cudaStreamCaptureMode. The end makes an executable graph, null where the status is not 0.
EMULATOR_EXPORT int emulator_begin_capture(void* stream, int mode);
EMULATOR_EXPORT int emulator_end_capture(void* stream, void** executable);
EMULATOR_EXPORT int emulator_launch(void* executable, void* stream);
EMULATOR_EXPORT void emulator_destroy(void* executable);
EMULATOR_EXPORT int emulator_unsafe_call();  // cudaMalloc of the calling thread; its status
