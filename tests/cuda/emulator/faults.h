// What a test does to the emulator from outside: C functions, so that Python's ctypes finds them too.
#pragma once

#include <cstddef>

#define EMULATOR_EXPORT extern "C" __attribute__((visibility("default")))

// After `skip` more calls of a function of CUDA or cuBLAS by this name, the next `count` return `status`.
// "cudaMalloc" stands for cudaMallocAsync too.
EMULATOR_EXPORT void emulator_fail(const char* function, int skip, int count, int status);
// How much memory a device has from now on, what is allocated included; 0: as at first.
EMULATOR_EXPORT void emulator_limit_memory(std::size_t bytes);
EMULATOR_EXPORT std::size_t emulator_allocated();        // bytes of device memory
EMULATOR_EXPORT int emulator_allocations();              // pieces of device memory that are alive
EMULATOR_EXPORT void emulator_break(int status);         // what the next kernel leaves behind; 0 heals
EMULATOR_EXPORT int emulator_waits();                    // of a stream for an event, so far
EMULATOR_EXPORT int emulator_overlaps();                 // kernels that started early, so far
EMULATOR_EXPORT void emulator_driver(int version);       // 1000 major + 10 minor, from now on
EMULATOR_EXPORT void* emulator_make_stream(int device);  // never destroyed
EMULATOR_EXPORT int emulator_begin_capture(void* stream);
EMULATOR_EXPORT int emulator_end_capture(void* stream);  // and forgets it
