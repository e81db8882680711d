#include "profile.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>

#include "cpu/isa.h"
#include "lstmcore/lstm.h"

namespace lstmcore {
namespace profile {
namespace {

// Operations per second of one thread in registers.
double measured_peak(const cpu::Kernels& kernels, const std::string& dtype) {
  const auto multiply_adds = dtype == "float32" ? kernels.f32.multiply_adds : kernels.f64.multiply_adds;
  double best = 0;
  for (int pass = 0; pass < 5; ++pass) {
    const auto begun = std::chrono::steady_clock::now();
    const double operations = 2 * static_cast<double>(multiply_adds(200000));
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begun;
    if (operations / taken.count() > best) best = operations / taken.count();
  }
  return best;
}

// The file: a JSON array of events, closed when the process ends. Viewers read it without the closing bracket
// too, so one that a crash cut off is not lost.
class Trace {
 public:
  explicit Trace(const char* path) : path_(path ? path : "") {
    if (path_.empty()) return;
    open(path_);
    pthread_atfork([] { trace().before_fork(); }, [] { trace().mutex_.unlock(); },
                   [] { trace().in_child(); });
  }
  ~Trace() {
    if (file_) std::fputs("\n]\n", file_), std::fclose(file_);
  }
  static Trace& trace();

  bool is_open() const { return file_ != nullptr; }

  void write(const CallShape& shape, double begin_us, double duration_us) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!file_) return;
    const LstmSpec& spec = *shape.spec;
    const double I = static_cast<double>(spec.input_size), H = static_cast<double>(spec.num_units),
                 P = static_cast<double>(spec.output_size());
    const double per_row = 8 * H * (I + P) + (spec.num_proj ? 2 * H * P : 0);
    const double operations = per_row * static_cast<double>(shape.row_steps);
    const double rate = duration_us > 0 ? operations / duration_us * 1e6 : 0;
    std::fprintf(
        file_,
        "%s\n{\"name\": \"%s\", \"ph\": \"X\", \"ts\": %.3f, \"dur\": %.3f, \"pid\": %d, \"tid\": %d, "
        "\"args\": {\"T\": %lld, \"N\": %lld, \"I\": %lld, \"H\": %lld, \"P\": %lld, \"row_steps\": %lld, "
        "\"dtype\": \"%s\", \"isa\": \"%s\", \"threads\": %d, \"flops\": %.0f, \"weight_bytes\": %.0f, "
        "\"gflops_per_second\": %.3f, \"share_of_one_core\": %.4f}}",
        first_ ? "" : ",", shape.steps == 1 ? "step" : "sequence", begin_us, duration_us,
        static_cast<int>(getpid()), static_cast<int>(syscall(SYS_gettid)),
        static_cast<long long>(shape.steps), static_cast<long long>(shape.batch),
        static_cast<long long>(spec.input_size), static_cast<long long>(spec.num_units),
        static_cast<long long>(spec.output_size()), static_cast<long long>(shape.row_steps), shape.dtype,
        shape.isa, shape.threads, operations, shape.weight_bytes, rate / 1e9, rate / peak(shape));
    first_ = false;
  }

 private:
  void open(const std::string& path) {
    file_ = std::fopen(path.c_str(), "w");
    first_ = true;
    if (file_)
      std::fputs("[", file_);
    else
      std::fprintf(stderr, "lstmcore: warning: LSTMCORE_PROFILE=%s cannot be written; nothing is profiled\n",
                   path.c_str());
  }

  // What the buffer holds would be written by both.
  void before_fork() {
    mutex_.lock();
    if (file_) std::fflush(file_);
  }
  void in_child() {
    mutex_.unlock();
    if (!file_) return;
    file_ = nullptr;
    open(path_ + "." + std::to_string(getpid()));
  }

  // Of the first call's level and dtype each; at most two levels are ever in use.
  double peak(const CallShape& shape) {
    double& known = peaks_[std::string(shape.dtype) == "float32" ? 0 : 1];
    if (known == 0) known = measured_peak(cpu::kernels_named(shape.isa), shape.dtype);
    return known;
  }

  std::string path_;
  std::FILE* file_ = nullptr;
  bool first_ = true;
  double peaks_[2] = {0, 0};
  std::mutex mutex_;
};

Trace& Trace::trace() {
  static Trace trace(std::getenv("LSTMCORE_PROFILE"));
  return trace;
}

double microseconds(std::chrono::steady_clock::time_point time) {
  return std::chrono::duration<double, std::micro>(time.time_since_epoch()).count();
}

}  // namespace

const bool enabled = Trace::trace().is_open();

Call::~Call() {
  const double begin = microseconds(begun_), end = microseconds(std::chrono::steady_clock::now());
  Trace::trace().write(shape_, begin, end - begin);
}

}  // namespace profile
}  // namespace lstmcore
