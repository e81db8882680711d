#include "lstmcore/interruption.h"

#include <unistd.h>

#include <algorithm>

#include "cpu/denormals.h"

namespace lstmcore {

void Interruption::look_at_clock() {
  using std::chrono::milliseconds;
  using std::chrono::steady_clock;
  constexpr steady_clock::duration kBetweenQuestions = milliseconds(20), kAtMost = milliseconds(75);
  next_work_ = work_ + kBetweenLooks;
  const auto now = steady_clock::now();
  if (!hooks_.stop || requested() || now < next_question_) return;
  if (next_question_ != steady_clock::time_point{}) {
    const cpu::KeepDenormals keep;
    const pid_t process = getpid();
    bool stop = hooks_.stop();
    if (getpid() != process) {  // the threads that had shares of this call are not in this process
      stop = true;
      why_ = "a signal handler forked during the call, which cannot go on in the child";
    }
    requested_.store(stop, std::memory_order_relaxed);
  }
  // A caller that takes long to answer, as with a lock that others hold, is asked less often.
  const auto answered = steady_clock::now();
  next_question_ =
      answered + std::clamp<steady_clock::duration>(20 * (answered - now), kBetweenQuestions, kAtMost);
}

}  // namespace lstmcore
