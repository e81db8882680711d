// Objects that one thread at a time may use, and calls without the GIL.
#pragma once

#include <Python.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>

namespace lstmcore {
namespace python {

// Refuses the second of two threads that use one object at once: waiting would be no help, as the order of
// the steps would be left to chance.
class InUse {
 public:
  InUse(std::atomic_flag& flag, const char* message) : flag_(flag) {
    if (flag_.test_and_set(std::memory_order_acquire)) throw std::runtime_error(message);
  }
  ~InUse() { flag_.clear(std::memory_order_release); }
  InUse(const InUse&) = delete;
  InUse& operator=(const InUse&) = delete;

 private:
  std::atomic_flag& flag_;
};

// Where Python has ended meanwhile, it ends this thread, by unwinding a stack that may not be unwound: then
// the thread sleeps until the process is gone, as Python itself has it from 3.14 on. Not inlined into a
// destructor, from which nothing may come.
[[gnu::noinline]] inline void take_gil(PyThreadState* state) {
  struct Sleep {
    bool back = false;
    ~Sleep() {
      while (!back) pause();
    }
  } sleep;
  PyEval_RestoreThread(state);
  sleep.back = true;
}

class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  ~WithoutGil() { take_gil(state_); }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace python
}  // namespace lstmcore
