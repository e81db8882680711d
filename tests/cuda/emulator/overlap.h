// Kernels that start before the one ahead of them has ended.
#pragma once

#include <functional>

namespace emulator {

struct Stream;

struct Work {
  std::function<void()> run;
  bool is_kernel = false, overlaps = false;
};

// Runs it; a kernel not before anything else is asked of the device (flush), so that the next one can
// overlap.
void play(Stream* stream, const Work& work);
void flush();

// In fibers.cpp: the next kernel that is run starts first, and this one when all of that one's threads wait.
void run_first(std::function<void()> before);

}  // namespace emulator
