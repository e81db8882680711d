// Limits on threads, from trees of files as control groups show them, and calls that their caller ends.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "checks.h"
#include "cpu/cgroup.h"
#include "lstmcore/runtime.h"
#include "lstmcore/stack.h"
#include "lstmcore/stream.h"

namespace {

using checks::check;
using checks::Values;
using lstmcore::ForwardArgs;
using lstmcore::Interrupted;
using lstmcore::Interruption;
using lstmcore::Lstm;
using lstmcore::LstmSpec;

// Control groups

struct File {
  std::string path, text;
};

class Tree {
 public:
  Tree(const std::string& own_groups, const std::string& mounts, const std::vector<File>& files) {
    char name[] = "/tmp/lstmcore-cgroups-XXXXXX";
    if (!mkdtemp(name)) throw std::runtime_error("no temporary folder");
    root_ = name;
    write({"/proc/self/cgroup", own_groups});
    write({"/proc/self/mountinfo", mounts});
    for (const File& file : files) write(file);
  }
  ~Tree() { std::filesystem::remove_all(root_); }
  int cpus() const { return lstmcore::cpu::cgroup_cpus(root_); }

 private:
  void write(const File& file) const {
    const std::filesystem::path path = root_ + file.path;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << file.text;
  }
  std::string root_;
};

const std::string kVersion2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
const std::string kVersion1 =
    "31 23 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "33 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n";

void test_version_2() {
  const std::string top = "/sys/fs/cgroup";
  const auto cpus = [&](const std::string& own, const std::vector<File>& files) {
    return Tree("0::" + own + "\n", kVersion2, files).cpus();
  };
  check(cpus("/", {}) == 0, "no file");
  check(cpus("/", {{top + "/cpu.max", "max 100000\n"}}) == 0, "no quota");
  check(cpus("/", {{top + "/cpu.max", "150000 100000\n"}}) == 2, "rounded up");
  check(cpus("/", {{top + "/cpu.max", "1000 100000\n"}}) == 1, "at least one");
  check(cpus("/", {{top + "/cpu.max", "nonsense"}}) == 0, "no number");
  const std::vector<File> nested = {{top + "/cpu.max", "900000 100000\n"},
                                    {top + "/a/cpu.max", "300000 100000\n"},
                                    {top + "/a/b/cpu.max", "max 100000\n"},
                                    {top + "/a/b/c/cpu.max", "500000 100000\n"},
                                    {top + "/other/cpu.max", "100000 100000\n"}};
  check(cpus("/a/b/c", nested) == 3, "the least of its own and those above");
  check(cpus("/a/b", nested) == 3, "that of an ancestor");
  check(cpus("/a/gone/gone", nested) == 3, "a group without files");
  check(cpus("/", nested) == 9, "of the top alone");
  check(cpus("/../../elsewhere", nested) == 9, "outside the namespace: the top");
}

void test_parts_of_a_hierarchy() {
  const std::vector<File> files = {{"/sys/fs/cgroup/cpu.max", "400000 100000\n"},
                                   {"/sys/fs/cgroup/job/cpu.max", "200000 100000\n"}};
  const auto cpus = [&](const std::string& own) {
    return Tree("0::" + own + "\n", "30 23 0:26 /docker/ab /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", files)
        .cpus();
  };
  check(cpus("/docker/ab/job") == 2, "a path under the mount's root");
  check(cpus("/docker/ab") == 4, "the mount's root");
  check(cpus("/docker/abc/job") == 4, "a path that only begins alike");
  const Tree spaces("0::/my job\n", "30 23 0:26 / /c\\040g rw - cgroup2 cgroup2 rw\n",
                    {{"/c g/my job/cpu.max", "700000 100000\n"}});
  check(spaces.cpus() == 7, "spaces");
}

void test_version_1() {
  const std::string top = "/sys/fs/cgroup/cpu,cpuacct";
  const auto cpus = [&](const std::string& groups, const std::vector<File>& files) {
    return Tree(groups, kVersion1, files).cpus();
  };
  const std::string own = "5:cpuset:/sets\n4:cpu,cpuacct:/box\n1:name=systemd:/x\n";
  check(
      cpus(own, {{top + "/box/cpu.cfs_quota_us", "-1\n"}, {top + "/box/cpu.cfs_period_us", "100000\n"}}) == 0,
      "version 1: no quota");
  check(cpus(own, {{top + "/box/cpu.cfs_quota_us", "250000\n"},
                   {top + "/box/cpu.cfs_period_us", "100000\n"},
                   {top + "/sets/cpu.cfs_quota_us", "100000\n"},
                   {top + "/sets/cpu.cfs_period_us", "100000\n"}}) == 3,
        "version 1: its own group's quota");
  check(cpus(own, {{top + "/cpu.cfs_quota_us", "100000\n"}, {top + "/cpu.cfs_period_us", "50000\n"}}) == 2,
        "version 1: that of the top");
  check(Tree("0::/job\n4:cpu,cpuacct:/box\n",
             kVersion1 + "39 31 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
             {{top + "/box/cpu.cfs_quota_us", "300000\n"},
              {top + "/box/cpu.cfs_period_us", "100000\n"},
              {"/sys/fs/cgroup/unified/job/cpu.max", "200000 100000\n"}})
                .cpus() == 2,
        "both versions: the least");
  check(Tree("", "", {}).cpus() == 0, "no groups at all");
}

void test_of_this_thread() {
  lstmcore::set_num_threads(5);
  check(lstmcore::exchange_num_threads_of_this_thread(2) == 0, "nothing before");
  check(lstmcore::num_threads() == 2 && lstmcore::num_threads_of_process() == 5, "this thread's own");
  std::thread([] { check(lstmcore::num_threads() == 5, "another thread's"); }).join();
  check(lstmcore::exchange_num_threads_of_this_thread(0) == 2, "what was before");
  check(lstmcore::num_threads() == 5, "the process's again");
  for (const int bad : {-1, lstmcore::kMaxThreads + 1}) {
    bool refused = false;
    try {
      lstmcore::exchange_num_threads_of_this_thread(bad);
    } catch (const std::invalid_argument&) {
      refused = true;
    }
    check(refused, "refused: " + std::to_string(bad));
  }
}

// Interruption

int questions = 0, stop_at = 0;
std::thread::id asked_on;

bool stop() {
  asked_on = std::this_thread::get_id();
  return ++questions == stop_at;
}
const lstmcore::CallHooks kHooks = {stop, nullptr};

std::shared_ptr<const Lstm<float>> make(std::int64_t I, std::int64_t H) {
  LstmSpec spec;
  spec.input_size = I;
  spec.num_units = H;
  const Values W(static_cast<std::size_t>(I * 4 * H), 0.01f), R(static_cast<std::size_t>(H * 4 * H), 0.02f),
      b(static_cast<std::size_t>(4 * H), 0.1f);
  return std::make_shared<const Lstm<float>>(spec,
                                             lstmcore::LstmWeights<float>{W.data(), R.data(), b.data()});
}

// Whether the call ends at the question numbered so; the whole of it takes many more.
template <class Call>
bool ends_at(int question, const Call& call) {
  questions = 0;
  stop_at = question;
  asked_on = {};
  Interruption interruption(kHooks);
  try {
    call(&interruption);
  } catch (const Interrupted&) {
    return questions == question && asked_on == std::this_thread::get_id();
  }
  return false;
}

struct Sequence {
  Sequence(std::int64_t T, std::int64_t N, const Lstm<float>& lstm) {
    const std::int64_t I = lstm.spec().input_size, H = lstm.spec().num_units;
    x.assign(static_cast<std::size_t>(N * I), 0.5f);
    c.resize(static_cast<std::size_t>(N * H));
    h.resize(static_cast<std::size_t>(N * H));
    args.steps = T;
    args.batch = N;
    args.x = {x.data(), 0, I};  // every step is the same
    args.c_n = c.data();
    args.h_n = h.data();
  }
  Values x, c, h;
  ForwardArgs<float> args;
};

void test_sequences(int threads) {
  lstmcore::set_num_threads(threads);
  const std::string with = " with " + std::to_string(threads) + " threads";
  const auto lstm = make(64, 160);
  for (const std::int64_t N : {1, 70}) {
    Sequence sequence(N == 1 ? 3000000 : 100000, N, *lstm);
    for (const int question : {1, 3})
      check(ends_at(question,
                    [&](Interruption* interruption) {
                      sequence.args.interruption = interruption;
                      lstm->forward(sequence.args);
                    }),
            std::to_string(N) + " rows" + with);
    // What was ended leaves nothing behind.
    sequence.args.interruption = nullptr;
    sequence.args.steps = 3;
    lstm->forward(sequence.args);
    Sequence alone(3, N, *lstm);
    lstm->forward(alone.args);
    check(sequence.h == alone.h && sequence.c == alone.c, "the next call" + with);
  }
  Sequence forward(2000000, 1, *lstm), backward(2000000, 1, *lstm);
  backward.args.reverse = true;
  check(ends_at(2,
                [&](Interruption* interruption) {
                  forward.args.interruption = backward.args.interruption = interruption;
                  const lstmcore::ForwardCall<float> calls[] = {{lstm.get(), forward.args},
                                                                {lstm.get(), backward.args}};
                  lstmcore::forward_all(calls, 2);
                }),
        "two directions" + with);
  // One whose calls are as good as done must be asked while it waits for the other one.
  backward.args.steps = 1;
  check(ends_at(2,
                [&](Interruption* interruption) {
                  forward.args.interruption = backward.args.interruption = interruption;
                  const lstmcore::ForwardCall<float> calls[] = {{lstm.get(), backward.args},
                                                                {lstm.get(), forward.args}};
                  lstmcore::forward_all(calls, 2);
                }),
        "a long and a short direction" + with);
}

void test_streams(int threads) {
  lstmcore::set_num_threads(threads);
  const auto below = make(8, 64), above = make(64, 48);
  lstmcore::Stream<float> stream({below, above}, 1);
  Values x(8, 0.5f), out(48), before(static_cast<std::size_t>(stream.state_size())), after(before);
  stream.step(x.data(), out.data());
  stream.read_state(0, before.data());
  // Many blocks of steps, of which each is a short call.
  check(ends_at(2, [&](Interruption* i) { stream.push(5000000, {x.data(), 0, 8}, {out.data(), 0, 48}, i); }),
        "a push");
  stream.read_state(0, after.data());
  check(before == after, "the state after a push that was ended");
}

void test_short_calls_ask_nothing() {
  const auto lstm = make(64, 160);
  Sequence sequence(100, 1, *lstm);
  questions = stop_at = 0;
  Interruption interruption(kHooks);
  sequence.args.interruption = &interruption;
  sequence.args.threads = 1;  // several may have to wait for each other for long
  lstm->forward(sequence.args);
  check(questions == 0, "a short call asked");
}

}  // namespace

int main() {
  test_version_2();
  test_parts_of_a_hierarchy();
  test_version_1();
  test_of_this_thread();
  test_short_calls_ask_nothing();
  for (const int threads : {1, 2, 3}) {
    test_sequences(threads);
    test_streams(threads);
  }
  return checks::result();
}
