// The inputs of one Lstm::forward, and its outputs: apart, so that the same call can be made in several ways.
#pragma once

#include <optional>

#include "layer.h"

namespace fuzz {

using lstmcore::ForwardArgs;

enum class Lengths { full, ragged, packed };

template <class T>
struct Inputs {
  int64_t steps, batch;
  Lengths kind;
  bool reverse, has_c0, has_h0;
  std::vector<int64_t> lengths, offsets{0};
  Sequence<T> x;  // of packed rows: one batch row with all their steps
  Guarded<T> c0, h0;

  Inputs(Input& input, const LstmSpec& spec, Sizes sizes)
      : steps(sizes.steps),
        batch(sizes.batch),
        kind(input.pick({Lengths::full, Lengths::ragged, Lengths::packed})),
        reverse(input.flip()),
        has_c0(input.flip()),
        has_h0(input.flip()) {
    const std::uint64_t seed = static_cast<std::uint64_t>(input.integer(0, 65535));
    for (int64_t n = 0; n < batch; ++n) {
      const auto dice =
          static_cast<int64_t>((seed + 1) * (static_cast<std::uint64_t>(n) + 3) * 40503 % 65521);
      lengths.push_back(kind == Lengths::full ? steps : dice % 5 == 0 ? steps : dice % (steps + 1));
      offsets.push_back(offsets.back() + lengths.back());
    }
    const bool packed = kind == Lengths::packed;
    x = Sequence<T>(input, packed ? offsets.back() : steps, packed ? 1 : batch, spec.input_size, true);
    const Kind values = input.one_in(12) ? Kind::special : input.one_in(8) ? Kind::small : Kind::plain;
    fill_random(x.memory().data(), x.memory().size(), 2, seed + 1, values);
    c0 = Guarded<T>(input, batch * spec.num_units, 1, values);
    h0 = Guarded<T>(input, batch * spec.output_size(), 1, values);
  }

  const T* x_at(int64_t t, int64_t n) const {
    return kind == Lengths::packed ? x.at(offsets[static_cast<std::size_t>(n)] + t, 0) : x.at(t, n);
  }
  int64_t length(int64_t n) const { return lengths[static_cast<std::size_t>(n)]; }
  const T* c0_of(int64_t n, const LstmSpec& spec) const {
    return has_c0 ? c0.data() + n * spec.num_units : nullptr;
  }
  const T* h0_of(int64_t n, const LstmSpec& spec) const {
    return has_h0 ? h0.data() + n * spec.output_size() : nullptr;
  }

  ForwardArgs<T> args() const {
    ForwardArgs<T> args;
    args.steps = steps;
    args.batch = batch;
    args.x = x.template view<const T>();
    args.c0 = has_c0 ? c0.data() : nullptr;
    args.h0 = has_h0 ? h0.data() : nullptr;
    args.lengths = kind == Lengths::ragged ? lengths.data() : nullptr;
    args.offsets = kind == Lengths::packed ? offsets.data() : nullptr;
    args.reverse = reverse;
    return args;
  }
};

template <class T>
struct Outputs {
  bool has_y, has_c_seq, has_gates, in_place;
  Sequence<T> y, c_seq;
  Guarded<T> gates[5], c_n, h_n;

  Outputs(Input& input, const Inputs<T>& in, const LstmSpec& spec)
      : has_y(!input.one_in(4)), has_c_seq(input.one_in(3)), has_gates(false), in_place(input.flip()) {
    const int64_t H = spec.num_units, P = spec.output_size();
    const bool packed = in.kind == Lengths::packed;
    const int64_t T_ = packed ? in.offsets.back() : in.steps, N = packed ? 1 : in.batch;
    if (has_y) y = Sequence<T>(input, T_, N, P, false);
    if (has_c_seq) c_seq = Sequence<T>(input, T_, N, H, false);
    has_gates = !packed && !spec.num_proj && input.one_in(3);
    for (auto& gate : gates) gate = Guarded<T>(input, has_gates ? in.steps * in.batch * H : 0);
    c_n = Guarded<T>(input, in.batch * H);
    h_n = Guarded<T>(input, in.batch * P);
  }

  // Whether the final states are written where the initial ones are.
  void add_to(ForwardArgs<T>& args) {
    if (has_y) args.y = y.template view<T>();
    if (has_c_seq) args.c_seq = c_seq.template view<T>();
    if (has_gates)
      args.gates = {gates[0].data(), gates[1].data(), gates[2].data(), gates[3].data(), gates[4].data()};
    args.c_n = c_n.data();
    args.h_n = h_n.data();
  }
  void start_in_place(const Inputs<T>& in, ForwardArgs<T>& args) {
    if (!in_place) return;
    if (in.has_c0) c_n.fill(in.c0), args.c0 = c_n.data();
    if (in.has_h0) h_n.fill(in.h0), args.h0 = h_n.data();
  }

  bool untouched() const {
    for (const auto& gate : gates)
      if (!gate.untouched()) return false;
    return (!has_y || y.memory().untouched()) && (!has_c_seq || c_seq.memory().untouched()) &&
           c_n.untouched() && h_n.untouched();
  }
};

// What a call wrote, in [T, N, width] or packed; empty where it was not asked for.
template <class T>
struct Results {
  std::vector<T> y, c_seq, gates[5], c_n, h_n;

  explicit Results(const Outputs<T>& out) {
    if (out.has_y) y = out.y.dense();
    if (out.has_c_seq) c_seq = out.c_seq.dense();
    for (int g = 0; g < 5; ++g) {
      require(out.gates[g].intact_before(), "written before a gate output");
      gates[g].assign(out.gates[g].data(), out.gates[g].data() + out.gates[g].size());
    }
    require(out.c_n.intact_before() && out.h_n.intact_before(), "written before a state");
    c_n.assign(out.c_n.data(), out.c_n.data() + out.c_n.size());
    h_n.assign(out.h_n.data(), out.h_n.data() + out.h_n.size());
  }
  // Outputs that only one of the two has do not count.
  bool agrees(const Results& other) const {
    const auto agree = [](const std::vector<T>& a, const std::vector<T>& b) {
      return a.empty() || b.empty() || same(a, b);
    };
    for (int g = 0; g < 5; ++g)
      if (!agree(gates[g], other.gates[g])) return false;
    return agree(y, other.y) && agree(c_seq, other.c_seq) && same(c_n, other.c_n) && same(h_n, other.h_n);
  }
};

template <class T>
Results<T> run(Input& input, const Lstm<T>& lstm, const Inputs<T>& in, int threads) {
  Outputs<T> out(input, in, lstm.spec());
  ForwardArgs<T> args = in.args();
  out.add_to(args);
  out.start_in_place(in, args);
  args.threads = threads;
  lstmcore::Workspace workspace;
  if (input.flip()) args.workspace = &workspace;
  lstm.forward(args);
  return Results<T>(out);
}

}  // namespace fuzz
