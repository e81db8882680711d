// Scratch memory of calls that bring no Workspace of their own: the process keeps it for the calls to come.
#pragma once

#include <cstddef>

#include "lstmcore/lstm.h"

namespace lstmcore {

// One of the process's workspaces, from the first get() to the destructor. A thread gets the same one call
// after call, another only where two threads want the same at once; neither waits for the other.
class BorrowedWorkspace {
 public:
  BorrowedWorkspace() = default;
  ~BorrowedWorkspace();
  BorrowedWorkspace(const BorrowedWorkspace&) = delete;
  BorrowedWorkspace& operator=(const BorrowedWorkspace&) = delete;

  Workspace& get();

 private:
  struct Kept;
  friend std::size_t trim();
  static constexpr int kKept = 64;  // more calls than this at once allocate for themselves
  static Kept kept[kKept];
  static unsigned first_choice();

  Kept* taken_ = nullptr;
  Workspace own_;  // where all of the process's are in use
};

}  // namespace lstmcore
