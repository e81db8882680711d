// LSTMCORE_PROFILE=file writes every call of the process as a Chrome trace (chrome://tracing,
// ui.perfetto.dev): time, sizes, multiply-adds, bytes of weights, and the share of what the CPU could have
// done.
#pragma once

#include <chrono>
#include <cstdint>

namespace lstmcore {

struct LstmSpec;

namespace profile {

// Whether the variable was set when the library was loaded: all that a call costs where it was not.
extern const bool enabled;

struct CallShape {
  std::int64_t steps, batch, row_steps;  // row_steps: time steps of all rows together
  const LstmSpec* spec;
  const char* dtype;
  const char* isa;
  int threads;  // at most so many
  double weight_bytes;
};

// Records one call, from its construction to its destruction, where it was made enabled.
class Call {
 public:
  explicit Call(const CallShape& shape) : shape_(shape), begun_(std::chrono::steady_clock::now()) {}
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

 private:
  CallShape shape_;
  std::chrono::steady_clock::time_point begun_;
};

}  // namespace profile
}  // namespace lstmcore
