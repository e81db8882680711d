// The sequence engine without Python: whatever way it orders and shares the work, the results are bit for bit
// those of one row, one step at a time.
#include <atomic>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "checks.h"
#include "cpu/pool.h"
#include "cpu/slots.h"
#include "lstmcore/lstm.h"
#include "lstmcore/runtime.h"

namespace {

using checks::check;
using checks::random_values;
using checks::Values;
using lstmcore::ForwardArgs;
using lstmcore::Lstm;
using lstmcore::LstmSpec;

// A layer, and rows of one length each in the packed form.
struct Problem {
  LstmSpec spec;
  std::vector<std::int64_t> offsets{0};
  std::int64_t N, I, H, P, longest = 0;
  Values x, c0, h0;
  Lstm<float> lstm;

  Problem(LstmSpec s, const std::vector<std::int64_t>& lengths, unsigned seed = 1)
      : spec(s),
        N(static_cast<std::int64_t>(lengths.size())),
        I(s.input_size),
        H(s.num_units),
        P(s.output_size()),
        lstm(make(s, seed)) {
    for (const std::int64_t length : lengths) {
      offsets.push_back(offsets.back() + length);
      longest = std::max(longest, length);
    }
    x = random_values(offsets.back() * I, 2, seed + 10);
    c0 = random_values(N * H, 1, seed + 11);
    h0 = random_values(N * P, 1, seed + 12);
  }

  static Lstm<float> make(const LstmSpec& s, unsigned seed) {
    const std::int64_t I = s.input_size, H = s.num_units, P = s.output_size();
    const Values W = random_values(I * 4 * H, 0.2f, seed), R = random_values(P * 4 * H, 0.2f, seed + 1),
                 b = random_values(4 * H, 1, seed + 2), p = random_values(H, 1, seed + 3),
                 projection = random_values(H * P, 0.3f, seed + 4);
    return Lstm<float>(s, {W.data(), R.data(), b.data(), p.data(), p.data(), p.data(), projection.data()});
  }

  ForwardArgs<float> args(Values& y, Values& c_n, Values& h_n, int threads) const {
    y.assign(static_cast<std::size_t>(offsets.back() * P), -7);
    c_n.assign(c0.size(), -7);
    h_n.assign(h0.size(), -7);
    ForwardArgs<float> args;
    args.steps = longest;
    args.batch = N;
    args.x = {x.data(), I, 0};
    args.c0 = c0.data();
    args.h0 = h0.data();
    args.offsets = offsets.data();
    args.y = {y.data(), P, 0};
    args.c_n = c_n.data();
    args.h_n = h_n.data();
    args.threads = threads;
    return args;
  }

  // One row, one step at a time.
  Values expected() const {
    Values y(static_cast<std::size_t>(offsets.back() * P));
    for (std::int64_t n = 0; n < N; ++n) {
      Values c(c0.begin() + n * H, c0.begin() + (n + 1) * H);
      const float* h = h0.data() + n * P;
      for (std::int64_t at = offsets[n]; at < offsets[n + 1]; ++at) {
        lstm.step(1, x.data() + at * I, c.data(), h, c.data(), y.data() + at * P);
        h = y.data() + at * P;
      }
    }
    return y;
  }
};

LstmSpec spec_of(std::int64_t I, std::int64_t H, std::optional<std::int64_t> P = {}) {
  LstmSpec spec;
  spec.input_size = I;
  spec.num_units = H;
  spec.num_proj = P;
  spec.peepholes = true;
  spec.forget_bias = 0.75;
  spec.cell_clip = 1.5;
  return spec;
}

// Lengths around the blocks in which input gates are computed ahead, and batches around the size from which
// they are not; enough work for threads in the larger ones.
void test_packed_rows() {
  for (const LstmSpec& spec : {spec_of(5, 9), spec_of(33, 70), spec_of(20, 90, 31)}) {
    for (const std::int64_t rows : {1, 2, 7, 8, 9, 26}) {
      for (const std::int64_t longest : {1, 13, 150}) {
        std::vector<std::int64_t> lengths;
        for (std::int64_t n = 0; n < rows; ++n) lengths.push_back((longest * (n * 5 + 3)) % (longest + 1));
        lengths.back() = longest;
        const Problem problem(spec, lengths);
        const Values expected = problem.expected();
        for (const int threads : {1, 2, 5}) {
          Values y, c_n, h_n;
          problem.lstm.forward(problem.args(y, c_n, h_n, threads));
          check(y == expected, "packed: H " + std::to_string(spec.num_units) + ", " + std::to_string(rows) +
                                   " rows, " + std::to_string(longest) + " steps");
        }
      }
    }
  }
}

// Each step of each row once, in its order, and no slot longer than the longest row.
void test_slots() {
  std::mt19937 generator(7);
  for (const std::int64_t N : {1, 2, 3, 8, 41}) {
    for (const std::int64_t longest : {0, 1, 9, 60}) {
      std::vector<lstmcore::cpu::SlotRow> rows;
      std::vector<std::int64_t> lengths;
      for (std::int64_t n = 0; n < N; ++n) {
        lengths.push_back(static_cast<std::int64_t>(generator()) % (longest + 1));
        rows.push_back({n, lengths.back(), -1});
      }
      std::vector<lstmcore::cpu::Slot> slots(rows.size());
      const std::int64_t count = lstmcore::cpu::make_slots(rows.data(), N, slots.data());
      std::vector<std::int64_t> next(lengths.size(), 0);
      bool right = count >= 1 && count <= N;
      for (std::int64_t k = 0; k < count; ++k) {
        right &= slots[k].steps <= rows.front().length && (k == 0 || slots[k].steps <= slots[k - 1].steps);
        for (std::int64_t step = 0; step < slots[k].steps; ++step) {
          const lstmcore::cpu::SlotRow& row = slots[k].at(rows.data(), step);
          right &= step - row.begin == next[row.row]++;
        }
      }
      check(right && next == lengths, "slots of " + std::to_string(N) + " rows");
    }
  }
}

void test_bad_offsets() {
  const Problem problem(spec_of(3, 4), {2, 5, 0, 1});
  Values y, c_n, h_n;
  const auto refuses = [&](std::vector<std::int64_t> offsets) {
    ForwardArgs<float> args = problem.args(y, c_n, h_n, 1);
    args.offsets = offsets.data();
    try {
      problem.lstm.forward(args);
    } catch (const std::invalid_argument&) {
      return y.front() == -7 && c_n.front() == -7;
    }
    return false;
  };
  check(refuses({1, 2, 7, 7, 8}), "offsets: first is not 0");
  check(refuses({0, 2, 1, 7, 8}), "offsets: decreasing");
  check(refuses({0, 2, 8, 8, 8}), "offsets: longer than steps");
}

// Steps that no row has and no output wants cost nothing, however many.
void test_endless_padding() {
  const Problem problem(spec_of(40, 64), {9, 3, 5});
  const std::int64_t lengths[] = {9, 3, 5};
  Values y, c_n, h_n, expected;
  ForwardArgs<float> args = problem.args(y, c_n, h_n, 1);
  args.offsets = nullptr;
  args.lengths = lengths;
  args.x = {problem.x.data(), 40, 0};  // every row reads the same
  args.y = {};
  for (const std::int64_t steps : {std::int64_t{9}, std::int64_t{1} << 40, std::int64_t{1} << 49}) {
    args.steps = steps;
    problem.lstm.forward(args);
    if (steps == 9) expected = c_n;
    check(c_n == expected, "endless padding: " + std::to_string(steps));
    c_n.assign(c_n.size(), -7);
  }
}

// Two directions of different sizes side by side.
void test_forward_all() {
  const Problem a(spec_of(40, 64), {30, 11, 30}, 1), b(spec_of(25, 90, 17), {50}, 2);
  for (const int threads : {1, 2, 3, 8}) {
    Values y[2], c[2], h[2];
    lstmcore::ForwardCall<float> calls[2] = {{&a.lstm, a.args(y[0], c[0], h[0], threads)},
                                             {&b.lstm, b.args(y[1], c[1], h[1], threads)}};
    lstmcore::forward_all(calls, 2);
    check(y[0] == a.expected() && y[1] == b.expected(), "two calls side by side");
  }
}

// Callers that want the same workers at the same time, each with another number of threads.
void test_concurrent_callers() {
  const Problem problem(spec_of(40, 128), {40, 40, 12});
  const Values expected = problem.expected();
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int caller = 0; caller < 6; ++caller)
    callers.emplace_back([&, caller] {
      for (int call = 0; call < 40; ++call) {
        Values y, c_n, h_n;
        problem.lstm.forward(problem.args(y, c_n, h_n, 1 + (caller + call) % 6));
        wrong += y != expected;
      }
    });
  for (std::thread& caller : callers) caller.join();
  check(wrong == 0, "concurrent callers: " + std::to_string(wrong) + " wrong");
}

// Every share of every phase once, and none before the phase ahead of it is complete.
void test_phases() {
  struct Job {
    std::vector<std::atomic<int>> done;
    std::atomic<int> early{0};
    int threads;
  };
  for (const int threads : {1, 2, 3, 7, 16}) {
    Job job{std::vector<std::atomic<int>>(300), {}, threads};
    const auto work = [](const void* of, std::int64_t phase, int) {
      Job& job = *const_cast<Job*>(static_cast<const Job*>(of));
      if (phase > 0 && job.done[phase - 1] != job.threads) ++job.early;
      ++job.done[phase];
    };
    lstmcore::cpu::run_phases(threads, 300, work, &job);
    bool all = true;
    for (const auto& done : job.done) all &= done == threads;
    check(all && job.early == 0, "phases with " + std::to_string(threads) + " threads");
  }
}

}  // namespace

int main() {
  lstmcore::set_num_threads(8);
  test_packed_rows();
  test_slots();
  test_bad_offsets();
  test_endless_padding();
  test_forward_all();
  test_concurrent_callers();
  test_phases();
  return checks::result();
}
