// What a fuzz target takes from the fuzzer's bytes, and memory that notices what it must not hold.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "lstmcore/lstm.h"

namespace fuzz {

using std::int64_t;

[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "FINDING: %s\n", what.c_str());
  std::abort();
}
inline void require(bool condition, const char* what) {
  if (!condition) fail(what);
}

// What the runs amounted to: printed at the end, so that a harness that no longer tests anything shows.
struct Counts {
  int64_t runs = 0, refused = 0, compared = 0, loose = 0;
  ~Counts() {
    std::fprintf(
        stderr,
        "counts: %lld runs compared, %lld refusals, %lld values within their bound, %lld without one\n",
        static_cast<long long>(runs), static_cast<long long>(refused), static_cast<long long>(compared),
        static_cast<long long>(loose));
  }
};
inline Counts counts;

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data, size) {}

  int64_t integer(int64_t low, int64_t high) { return data_.ConsumeIntegralInRange<int64_t>(low, high); }
  bool flip() { return data_.ConsumeBool(); }
  bool one_in(int64_t n) { return integer(0, n - 1) == n - 1; }
  template <class U>
  U pick(std::initializer_list<U> values) {
    return values.begin()[integer(0, static_cast<int64_t>(values.size()) - 1)];
  }
  // A size: around a vector's lanes mostly, sometimes of several panels, sometimes none.
  int64_t size(int64_t least = 0) {
    switch (integer(0, 7)) {
      case 0:
        return pick<int64_t>({least, 1, 2, 4, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65});
      case 1:
        return integer(1, 150);
      default:
        return integer(1, 24);
    }
  }

 private:
  FuzzedDataProvider data_;
};

// Values from a seed. Most targets compare with a reference, which `special` ones are too wild for.
enum class Kind { plain, small, special };

template <class T>
T special_value(std::uint32_t dice) {
  using Limits = std::numeric_limits<T>;
  const T values[] = {
      T(0),          -T(0),          Limits::infinity(),   -Limits::infinity(), Limits::quiet_NaN(),
      Limits::max(), -Limits::max(), Limits::denorm_min(), -Limits::min(),      T(-88.5)};
  return values[dice % 10];
}

template <class T>
void fill_random(T* values, int64_t size, double scale, std::uint64_t seed, Kind kind) {
  std::uint64_t state = seed * 2862933555777941757u + 3037000493u;
  for (int64_t k = 0; k < size; ++k) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const double unit = static_cast<double>(static_cast<int64_t>(state) >> 11) / 4503599627370496.0;
    values[k] = static_cast<T>(scale * unit * (kind == Kind::small ? 1e-3 : 1));
    if (kind == Kind::special && (state >> 40) % 16 == 0)
      values[k] = special_value<T>(static_cast<std::uint32_t>(state >> 33));
  }
}

// An array that begins at any multiple of an element and ends where the allocation ends: what is read or
// written beyond it is ASan's to find, and what is written before it is found here.
template <class T>
class Guarded {
 public:
  Guarded() = default;
  Guarded(Input& input, int64_t size) : size_(size), shift_(input.integer(0, 15)) {
    bytes_.reset(static_cast<unsigned char*>(std::malloc(bytes())));
    std::memset(bytes_.get(), kCanary, bytes());
  }
  Guarded(Input& input, int64_t size, double scale, Kind kind) : Guarded(input, size) {
    fill_random(data(), size, scale, static_cast<std::uint64_t>(input.integer(0, 255)), kind);
  }

  T* data() const { return reinterpret_cast<T*>(bytes_.get()) + shift_; }
  int64_t size() const { return size_; }
  void fill(const Guarded& other) {
    std::memcpy(data(), other.data(), static_cast<std::size_t>(size_) * sizeof(T));
  }

  static bool is_canary(const T& value) {
    unsigned char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    return std::all_of(bytes, bytes + sizeof(T), [](unsigned char byte) { return byte == kCanary; });
  }
  bool intact_before() const {
    return std::all_of(data() - shift_, data(), [](const T& value) { return is_canary(value); });
  }
  bool untouched() const {
    return intact_before() &&
           std::all_of(data(), data() + size_, [](const T& value) { return is_canary(value); });
  }

 private:
  static constexpr unsigned char kCanary = 0xA5;
  struct Free {
    void operator()(unsigned char* memory) const { std::free(memory); }
  };
  std::size_t bytes() const { return static_cast<std::size_t>(size_ + shift_) * sizeof(T); }

  int64_t size_ = 0, shift_ = 0;
  std::unique_ptr<unsigned char, Free> bytes_;
};

// A [T, N, width] array in one of the layouts that a SequenceView can have: time-major or batch-major, with
// gaps, either axis backwards; `broadcast` ones may also repeat a step or a row.
template <class T>
class Sequence {
 public:
  Sequence() = default;
  Sequence(Input& input, int64_t steps, int64_t batch, int64_t width, bool broadcast)
      : steps_(steps), batch_(batch), width_(width) {
    const int64_t gap = input.pick<int64_t>({0, 0, 1, 3}), outer_gap = input.pick<int64_t>({0, 0, 5});
    const bool time_major = input.flip();
    const int64_t inner = width + gap, inner_size = time_major ? batch : steps;
    const int64_t outer = inner_size * inner + outer_gap;
    step_ = time_major ? outer : inner;
    row_ = time_major ? inner : outer;
    if (broadcast && input.one_in(8)) (input.flip() ? step_ : row_) = 0;
    int64_t start = 0;
    if (input.one_in(6)) {
      int64_t& stride = input.flip() ? step_ : row_;
      start = std::max<int64_t>(0, (&stride == &step_ ? steps : batch) - 1) * stride;
      stride = -stride;
    }
    start_ = start;
    memory_ = Guarded<T>(input, empty() ? 0
                                        : start + std::max<int64_t>(0, (steps - 1) * step_) +
                                              std::max<int64_t>(0, (batch - 1) * row_) + width);
  }

  bool empty() const { return steps_ * batch_ * width_ == 0; }
  Guarded<T>& memory() { return memory_; }
  const Guarded<T>& memory() const { return memory_; }
  T* at(int64_t t, int64_t n) const { return memory_.data() + start_ + t * step_ + n * row_; }
  template <class U>
  lstmcore::SequenceView<U> view() const {
    return {memory_.data() + (empty() ? 0 : start_), step_, row_};
  }
  // The values in [T, N, width]; the gaps must still be what they were.
  std::vector<T> dense() const {
    std::vector<T> values;
    std::vector<bool> used(static_cast<std::size_t>(memory_.size()), false);
    for (int64_t t = 0; t < steps_; ++t)
      for (int64_t n = 0; n < batch_; ++n)
        for (int64_t k = 0; k < width_; ++k) {
          values.push_back(at(t, n)[k]);
          used[static_cast<std::size_t>(at(t, n) + k - memory_.data())] = true;
        }
    for (std::size_t k = 0; k < used.size(); ++k)
      if (!used[k] && !Guarded<T>::is_canary(memory_.data()[k])) fail("a gap between outputs was written");
    require(memory_.intact_before(), "written before an array");
    return values;
  }

 private:
  int64_t steps_ = 0, batch_ = 0, width_ = 0, step_ = 0, row_ = 0, start_ = 0;
  Guarded<T> memory_;
};

// Bit for bit, but for the sign and payload of a NaN.
template <class T>
bool same(const T* a, const T* b, int64_t size) {
  for (int64_t k = 0; k < size; ++k) {
    if (std::isnan(a[k]) && std::isnan(b[k])) continue;
    if (std::memcmp(a + k, b + k, sizeof(T)) != 0) return false;
  }
  return true;
}
template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && same(a.data(), b.data(), static_cast<int64_t>(a.size()));
}

// The call must throw std::invalid_argument, and nothing else.
template <class Call>
void expect_refused(const char* what, const Call& call) {
  try {
    call();
  } catch (const std::invalid_argument&) {
    ++counts.refused;
    return;
  } catch (const std::exception& error) {
    fail(std::string(what) + ": expected std::invalid_argument, got " + error.what());
  }
  fail(std::string(what) + ": accepted");
}

}  // namespace fuzz
