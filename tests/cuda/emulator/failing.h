// What a test can make the emulator refuse.
#pragma once

#include <cstddef>

extern "C" {
// After `skip` more calls of a function of CUDA or cuBLAS by this name, the next `count` return `status`.
void emulator_fail(const char* function, int skip, int count, int status);
// How much memory a device has from now on, what is allocated included; 0: as at first.
void emulator_limit_memory(std::size_t bytes);
std::size_t emulator_allocated();
}
