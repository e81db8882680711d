#include "cpu/cgroup.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <vector>

namespace lstmcore {
namespace cpu {
namespace {

// A mounted hierarchy: `root` of it is what stands at `point`.
struct Mount {
  bool version_2;
  std::string root, point;
};

bool in_list(const std::string& list, const std::string& item) {
  std::istringstream items(list);
  for (std::string each; std::getline(items, each, ',');)
    if (each == item) return true;
  return false;
}

// Spaces and the like are written as three octal digits.
std::string unescaped(const std::string& text) {
  std::string plain;
  for (std::size_t k = 0; k < text.size(); ++k) {
    if (text[k] == '\\' && k + 3 < text.size()) {
      plain += static_cast<char>(std::strtol(text.substr(k + 1, 3).c_str(), nullptr, 8));
      k += 3;
    } else {
      plain += text[k];
    }
  }
  return plain;
}

// Lines as in proc(5): ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELD...] - TYPE SOURCE SUPER_OPTIONS
std::vector<Mount> cpu_mounts(const std::string& root) {
  std::vector<Mount> mounts;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string skipped, mount_root, point, type, super_options;
    fields >> skipped >> skipped >> skipped >> mount_root >> point;
    while (fields >> skipped && skipped != "-") {
    }
    fields >> type >> skipped >> super_options;
    const bool version_2 = type == "cgroup2";
    if (version_2 || (type == "cgroup" && in_list(super_options, "cpu")))
      mounts.push_back({version_2, unescaped(mount_root), unescaped(point)});
  }
  return mounts;
}

// Of the process in such a hierarchy, from lines ID:CONTROLLERS:PATH; version 2 has no controllers.
std::optional<std::string> own_path(const std::string& root, bool version_2) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (version_2 ? controllers.empty() && line[0] == '0' : in_list(controllers, "cpu"))
      return line.substr(second + 1);
  }
  return std::nullopt;
}

// CPUs, as a fraction; 0: no quota here.
double quota_in(const std::string& folder, bool version_2) {
  double quota = 0, period = 0;
  if (version_2) {
    std::ifstream(folder + "/cpu.max") >> quota >> period;  // "max" is no number
  } else {
    std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;  // -1: none
    std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? quota / period : 0;
}

}  // namespace

int cgroup_cpus(const std::string& root) {
  double least = 0;
  for (const Mount& mount : cpu_mounts(root)) {
    std::string path = own_path(root, mount.version_2).value_or("/");
    // Where a part of the hierarchy is mounted, paths are under its root; outside, only the top is known.
    if (mount.root != "/")
      path = (path + "/").rfind(mount.root + "/", 0) == 0 ? path.substr(mount.root.size()) : "";
    if (path.find("/..") != std::string::npos) path.clear();
    for (;;) {
      while (!path.empty() && path.back() == '/') path.pop_back();
      const double quota = quota_in(root + mount.point + path, mount.version_2);
      if (quota > 0) least = least > 0 ? std::min(least, quota) : quota;
      if (path.empty()) break;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  return least > 0 ? static_cast<int>(std::min(std::ceil(least), 1e6)) : 0;
}

}  // namespace cpu
}  // namespace lstmcore
