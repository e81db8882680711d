// What a test does to the emulator from outside: C functions, so that Python's ctypes finds them.
#pragma once

#define EMULATOR_EXPORT extern "C" __attribute__((visibility("default")))

EMULATOR_EXPORT void emulator_fail_allocation(int nth);  // the nth from now on, and none after; 0: none
EMULATOR_EXPORT void emulator_break(int status);         // what the next kernel leaves behind; 0 heals
EMULATOR_EXPORT int emulator_allocations();              // pieces of device memory that are alive
EMULATOR_EXPORT int emulator_waits();                    // of a stream for an event, so far
EMULATOR_EXPORT void* emulator_make_stream(int device);  // never destroyed
EMULATOR_EXPORT void emulator_cublas_version(int version);
EMULATOR_EXPORT int emulator_begin_capture(void* stream);
EMULATOR_EXPORT int emulator_end_capture(void* stream);  // and forgets it
