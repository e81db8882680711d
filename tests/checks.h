// What the C++ tests have in common: checks that are counted, and values that are the same in every run.
#pragma once

#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "lstmcore/runtime.h"

namespace checks {

inline int failures = 0;

inline void check(bool condition, const std::string& what) {
  if (condition) return;
  ++failures;
  std::fprintf(stderr, "FAILED: %s\n", what.c_str());
}

// The last line of a test program, and its exit status.
inline int result() {
  std::printf("%s: %s\n", lstmcore::current_isa().c_str(), failures ? "failed" : "all checks passed");
  return failures ? 1 : 0;
}

using Values = std::vector<float>;

// From -scale to scale.
inline Values random_values(std::int64_t size, float scale, unsigned seed) {
  std::mt19937 generator(seed);
  Values values(static_cast<std::size_t>(size));
  for (float& value : values) value = scale * (static_cast<float>(generator() >> 8) / 8388608.0f - 1);
  return values;
}

// One stream of numbers from -scale to scale, of either type.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  double next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<double>(static_cast<std::int64_t>(state_) >> 11) / 4503599627370496.0;
  }
  template <class T>
  std::vector<T> array(std::int64_t size, double scale = 1) {
    std::vector<T> values(static_cast<std::size_t>(size));
    for (T& value : values) value = static_cast<T>(scale * next());
    return values;
  }

 private:
  std::uint64_t state_;
};

}  // namespace checks
