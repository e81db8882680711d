#include "cpu/isa.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "lstmcore/runtime.h"

namespace lstmcore {
namespace cpu {

// One table per level, defined by kernel.cpp as compiled for it. To add a level: a row in CMakeLists.txt, a
// line here, a row in `levels`, and its intrinsics in simd.h.
#if defined(__x86_64__)
extern const Kernels kernels_generic;
#else
extern const Kernels kernels_neon;
#endif
#ifdef LSTMCORE_HAVE_AVX2
extern const Kernels kernels_avx2;
#endif
#ifdef LSTMCORE_HAVE_AVX512
extern const Kernels kernels_avx512;
#endif

namespace {

struct Level {
  const Kernels* kernels;
  bool supported;
};

// The ISA table, lowest level first.
const std::vector<Level>& levels() {
  static const std::vector<Level> table = {
#if defined(__x86_64__)
      {&kernels_generic, true},
#else
      {&kernels_neon, true},
#endif
#ifdef LSTMCORE_HAVE_AVX2
      {&kernels_avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
#endif
#ifdef LSTMCORE_HAVE_AVX512
      {&kernels_avx512, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                            __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
#endif
  };
  return table;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

const Kernels& kernels_named(const std::string& isa) {
  for (const Level& level : levels())
    if (level.supported && isa == level.kernels->isa) return *level.kernels;
  throw std::runtime_error("no ISA level '" + isa + "'; this CPU and build have " + joined(supported_isas()));
}

}  // namespace cpu

std::vector<std::string> compiled_isas() {
  std::vector<std::string> names;
  for (const auto& level : cpu::levels()) names.push_back(level.kernels->isa);
  return names;
}

std::vector<std::string> supported_isas() {
  std::vector<std::string> names;
  for (const auto& level : cpu::levels())
    if (level.supported) names.push_back(level.kernels->isa);
  return names;
}

std::string current_isa() {
  const std::vector<std::string> supported = supported_isas();
  const char* forced = std::getenv("LSTMCORE_FORCE_ISA");
  if (!forced || !*forced) return supported.back();
  if (std::find(supported.begin(), supported.end(), forced) != supported.end()) return forced;
  throw std::runtime_error("LSTMCORE_FORCE_ISA=" + std::string(forced) + ", but this CPU and build have " +
                           cpu::joined(supported) + ". Unset it or choose one of these.");
}

}  // namespace lstmcore
