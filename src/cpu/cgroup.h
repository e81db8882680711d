// The CPU quota that the process's control group has, which its affinity does not show.
#pragma once

#include <string>

namespace lstmcore {
namespace cpu {

// CPUs that the process may keep busy, rounded up: the least quota of its own cgroup and all above it, in
// version 2 of cgroups and in version 1. 0: there is none. `root` is put before every path that is read.
int cgroup_cpus(const std::string& root = "");

}  // namespace cpu
}  // namespace lstmcore
