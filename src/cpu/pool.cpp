#include "cpu/pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <exception>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "cpu/denormals.h"
#include "cpu/threads.h"
#include "lstmcore/interruption.h"
#include "lstmcore/runtime.h"

namespace lstmcore {
namespace cpu {
namespace {

// Spins of a thread that waits, each a few tens of nanoseconds. From kPatience on, a microsecond or two, it
// offers to do the work itself: a thread that has a core has claimed its share by then, although a flag may
// take half a microsecond from core to core. From kSpins on, tens of microseconds, somebody else may have the
// core.
constexpr int kPatience = 50, kSpins = 2000;

// Shares in a row that a worker came too late for until the caller has it moved, and how many more until it
// tries again: where every core is busy, moving does not help.
constexpr int kLate = 4, kLateAgain = 500;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  asm volatile("yield");
#endif
}

// Numbers of the last phase in which this share was claimed, and done. They only grow, over all jobs. Each
// has a cache line to itself: the first is written by whoever works, the second polled by all who wait.
struct ShareState {
  alignas(64) std::atomic<std::uint64_t> claimed{0};
  alignas(64) std::atomic<std::uint64_t> done{0};
};

// What a worker needs to know of a job. It is copied under a sequence number, and a stale copy does no harm:
// its phases are over, so nothing of it can be claimed any more.
struct JobState {
  std::atomic<std::uint64_t> first{0}, last{0};  // numbers of its phases
  std::atomic<int> threads{0};
  std::atomic<ShareFunction> work{nullptr};
  std::atomic<const void*> job{nullptr};
};

// Keeps a worker off the core that its caller runs on, where it could only wait for the caller, which waits
// for it. The scheduler puts it there now and then when it wakes up, and finds out after some hundred
// milliseconds. What the worker's affinity was it is again right after.
class Elsewhere {
 public:
  Elsewhere(pid_t thread, int core) : thread_(thread) {
    if (thread == 0 || core < 0 || core >= CPU_SETSIZE)
      return;  // 0 is not yet known, and the caller to Linux
    if (sched_getaffinity(thread, sizeof allowed_, &allowed_) != 0) return;
    cpu_set_t others = allowed_;
    CPU_CLR(static_cast<unsigned>(core), &others);
    moved_ = CPU_COUNT(&others) > 0 && sched_setaffinity(thread, sizeof others, &others) == 0;
  }
  ~Elsewhere() {
    if (moved_) sched_setaffinity(thread_, sizeof allowed_, &allowed_);
  }
  Elsewhere(const Elsewhere&) = delete;
  Elsewhere& operator=(const Elsewhere&) = delete;

 private:
  pid_t thread_;
  cpu_set_t allowed_;
  bool moved_ = false;
};

struct Worker {
  std::atomic<pid_t> thread{0};
  std::atomic<int> core_plus_1{0};  // of the core it was on when it last had done something; 0: not known
  int late = 0;                     // shares in a row that it came too late for; the caller's
};

struct Job {
  std::uint64_t first, last;
  int threads;
  ShareFunction work;
  const void* job;
};

class Pool {
 public:
  void run(int threads, std::int64_t phases, ShareFunction work, const void* job,
           Interruption* interruption) {
    const FlushDenormals flush;
    if (threads == 1 || busy_.exchange(true, std::memory_order_acquire)) {
      for (std::int64_t phase = 0; phase < phases && !ended(interruption); ++phase)
        for (int share = 0; share < threads; ++share) work(job, phase, share);
      return;
    }
    start_workers(threads - 1);
    const Job mine = {last_ + 1, last_ + static_cast<std::uint64_t>(phases), threads, work, job};
    wake_workers(mine);
    take_part(mine, 0, interruption);
    last_ = mine.last;
    busy_.store(false, std::memory_order_release);
  }

 private:
  static bool ended(const Interruption* interruption) { return interruption && interruption->requested(); }

  // The caller of a job is member 0, worker k is member k. Only the caller has an interruption to ask.
  void take_part(const Job& job, int self, Interruption* interruption = nullptr) {
    for (std::uint64_t phase = job.first; phase <= job.last; ++phase) {
      if (ended(interruption)) return abandon(job);
      if (claim(self, phase)) complete(self, phase, job);
      for (int k = 0; k < job.threads; ++k) {  // its own too: somebody else may have claimed it
        const int share = self + k < job.threads ? self + k : self + k - job.threads;
        const bool late = finish(share, phase, job, interruption);
        if (self == 0 && share != 0) count_late(workers_[share], late);
      }
    }
  }

  // Leaves nothing to be claimed, waits for shares that somebody is in, and lets workers run through the
  // rest.
  void abandon(const Job& job) {
    for (int k = 0; k < job.threads; ++k) {
      ShareState& share = shares_[k];
      const std::uint64_t begun = share.claimed.exchange(job.last, std::memory_order_relaxed);
      while (share.done.load(std::memory_order_acquire) < begun && !in_forked_child())
        std::this_thread::yield();
      share.done.store(job.last, std::memory_order_release);
    }
  }

  // Waits until the share is done, and does it where nobody else does: true then. The caller asks its
  // interruption while it waits; where that forked, those who have shares are not in this process.
  bool finish(int share, std::uint64_t phase, const Job& job, Interruption* interruption) {
    bool claimed = false;
    for (int spins = 0; shares_[share].done.load(std::memory_order_acquire) < phase; ++spins) {
      if (spins >= kPatience && (claimed = claim(share, phase)))
        complete(share, phase, job);
      else if (spins < kSpins)
        pause();
      else if (std::this_thread::yield(); interruption) {
        interruption->poll_waiting();
        if (in_forked_child()) return claimed;
      }
    }
    return claimed;
  }

  static void count_late(Worker& worker, bool late) {
    worker.late = late ? worker.late + 1 : std::min(worker.late, 0);
    if (worker.late < kLate) return;
    worker.late = -kLateAgain;
    Elsewhere(worker.thread.load(std::memory_order_relaxed), sched_getcpu());
  }

  bool claim(int share, std::uint64_t phase) {
    std::atomic<std::uint64_t>& claimed = shares_[share].claimed;
    std::uint64_t before = claimed.load(std::memory_order_relaxed);
    return before < phase && claimed.compare_exchange_strong(before, phase, std::memory_order_relaxed);
  }
  void complete(int share, std::uint64_t phase, const Job& job) {
    job.work(job.job, static_cast<std::int64_t>(phase - job.first), share);
    shares_[share].done.store(phase, std::memory_order_release);
  }

  void wake_workers(const Job& job) {
    const int core = sched_getcpu();
    for (int k = 1; k < job.threads; ++k)
      if (workers_[k].core_plus_1.load(std::memory_order_relaxed) == core + 1) {
        const Elsewhere elsewhere(workers_[k].thread.load(std::memory_order_relaxed), core);
        return publish(job);  // two at most can have been there, and the next call moves the other
      }
    publish(job);
  }

  void publish(const Job& job) {
    const std::uint32_t sequence = sequence_.load(std::memory_order_relaxed);
    sequence_.store(sequence + 1, std::memory_order_relaxed);  // odd: being written
    std::atomic_thread_fence(std::memory_order_release);
    job_.first.store(job.first, std::memory_order_relaxed);
    job_.last.store(job.last, std::memory_order_relaxed);
    job_.threads.store(job.threads, std::memory_order_relaxed);
    job_.work.store(job.work, std::memory_order_relaxed);
    job_.job.store(job.job, std::memory_order_relaxed);
    sequence_.store(sequence + 2, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) futex(FUTEX_WAKE_PRIVATE, INT_MAX);
  }

  // A copy of the job, if it is still the one numbered `sequence`.
  bool copy_job(std::uint32_t sequence, Job& job) const {
    if (sequence & 1) return false;
    job = {job_.first.load(std::memory_order_relaxed), job_.last.load(std::memory_order_relaxed),
           job_.threads.load(std::memory_order_relaxed), job_.work.load(std::memory_order_relaxed),
           job_.job.load(std::memory_order_relaxed)};
    std::atomic_thread_fence(std::memory_order_acquire);
    return sequence_.load(std::memory_order_relaxed) == sequence;
  }

  std::uint32_t wait_for_job(std::uint32_t seen) {
    for (int spins = 0; spins < kSpins; ++spins) {
      const std::uint32_t sequence = sequence_.load(std::memory_order_acquire);
      if (sequence != seen) return sequence;
      pause();
    }
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    futex(FUTEX_WAIT_PRIVATE, seen);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
    return sequence_.load(std::memory_order_acquire);
  }

  void worker(int self) {
    const FlushDenormals flush;
    workers_[self].thread.store(static_cast<pid_t>(syscall(SYS_gettid)), std::memory_order_relaxed);
    for (std::uint32_t seen = 0;;) {
      const std::uint32_t sequence = wait_for_job(seen);
      Job job;
      if (sequence == seen || !copy_job(sequence, job)) continue;
      seen = sequence;
      if (self >= job.threads) continue;
      take_part(job, self);
      workers_[self].core_plus_1.store(sched_getcpu() + 1, std::memory_order_relaxed);
    }
  }

  // As many as the system lets it have. Signals are for the process's own threads.
  void start_workers(int wanted) {
    if (started_ >= wanted) return;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      for (; started_ < wanted; ++started_)
        std::thread([this, self = started_ + 1] { worker(self); }).detach();
    } catch (const std::exception&) {  // no thread, or no memory for one: the others do its shares
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  void futex(int operation, std::uint32_t value) {
    syscall(SYS_futex, &sequence_, operation, value, nullptr, nullptr, 0);
  }

  std::atomic<bool> busy_{
      false};  // a caller has the workers; what follows down to sleepers_ is written by it only
  int started_ = 0;
  std::uint64_t last_ = 0;  // number of the last phase of the last job
  alignas(64) std::atomic<std::uint32_t> sequence_{0};
  JobState job_;
  alignas(64) std::atomic<int> sleepers_{0};
  ShareState shares_[kMaxThreads];
  Worker workers_[kMaxThreads];  // of which 0 is not used
};

// Never destroyed: workers sleep in it until the process ends. It begins as zeros, which take no room in a
// file: 140 KB.
Pool pool;

}  // namespace

void run_phases(int threads, std::int64_t phases, ShareFunction work, const void* job,
                Interruption* interruption) {
  pool.run(threads, phases, work, job, interruption);
}

}  // namespace cpu
}  // namespace lstmcore
