// lstmcore-bench: the native core without Python, against what the machine can do.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <exception>
#include <string>

#include "lstmcore/runtime.h"
#include "lstmcore/version.h"
#include "registered.h"

int main(int argc, char** argv) {
  std::string isa;
  try {
    isa = lstmcore::current_isa();
  } catch (const std::exception& error) {  // LSTMCORE_FORCE_ISA asks for what is not there
    std::fprintf(stderr, "lstmcore-bench: error: %s\n", error.what());
    return 2;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const int threads = lstmcore::num_threads();
  benchmark::AddCustomContext("lstmcore", LSTMCORE_VERSION);
  benchmark::AddCustomContext("isa", isa);
  benchmark::AddCustomContext("threads",
                              std::to_string(threads) + " (" + lstmcore::num_threads_reason() + ")");
  lstmcore::bench::register_layers(1);
  if (threads > 1) lstmcore::bench::register_layers(threads);
  lstmcore::bench::register_parts(threads);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
