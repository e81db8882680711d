// How a long call asks its caller whether to go on.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <thread>

namespace lstmcore {

// The caller's side of a call. Both are called on the thread that made the call and on no other, may take
// locks, and may be null.
struct CallHooks {
  bool (*stop)();           // whether to end the call; asked about every 20 ms, never by a short call
  void (*runs_serially)();  // once in a forked child, by the first call that would have used threads; may
                            // throw, which ends the call before it has written anything
};

// What a call throws that has been ended: its outputs are unspecified then, its inputs and the state of a
// stream are what they were.
class Interrupted : public std::exception {
 public:
  explicit Interrupted(const char* why) : why_(why) {}
  const char* what() const noexcept override { return why_; }

 private:
  const char* why_;
};

// Of one call from its beginning to its end, over all layers and blocks of steps.
class Interruption {
 public:
  explicit Interruption(const CallHooks& hooks) : hooks_(hooks) {}
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  bool requested() const { return requested_.load(std::memory_order_relaxed); }

  // Before a piece of work of so many multiply-adds, by any thread that has a share in the call; asks the
  // caller when it is time to, and nothing on the other threads.
  bool poll(std::int64_t multiply_adds) {
    if (caller_ == std::this_thread::get_id() && (work_ += multiply_adds) > next_work_) look_at_clock();
    return requested();
  }
  // The same, by a thread that waits for others.
  void poll_waiting() {
    if (caller_ == std::this_thread::get_id()) look_at_clock();
  }

  void throw_if_requested() const {
    if (requested()) throw Interrupted(why_);
  }
  void tell_serial() const {
    if (hooks_.runs_serially) hooks_.runs_serially();
  }

 private:
  // Calls below the first read no clock: that takes well under 20 ms on any CPU that we run on.
  static constexpr std::int64_t kFirstLook = 1 << 25, kBetweenLooks = 1 << 22;

  void look_at_clock();

  const CallHooks& hooks_;
  const std::thread::id caller_ = std::this_thread::get_id();
  std::int64_t work_ = 0, next_work_ = kFirstLook;
  std::chrono::steady_clock::time_point next_question_{};
  const char* why_ = "the caller ended the call";
  std::atomic<bool> requested_{false};
};

}  // namespace lstmcore
