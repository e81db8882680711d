// One layer: every valid call against the reference, and against itself with other threads, chunks, rows,
// layouts and ISA levels.
#include "call.h"
#include "reference.h"

namespace {

using namespace fuzz;

template <class T>
void compare_with_reference(const Layer<T>& layer, const Inputs<T>& in, const Results<T>& got) {
  const LstmSpec& spec = layer.spec;
  const int64_t H = spec.num_units, P = spec.output_size();
  const bool packed = in.kind == Lengths::packed;
  const bool poisoned = spec.cell_clip && std::isnan(*spec.cell_clip);  // by way of the forget gate
  for (int64_t n = 0; n < in.batch; ++n) {
    Reference<T> row(layer, in.c0_of(n, spec), in.h0_of(n, spec));
    for (int64_t s = 0; s < in.length(n); ++s) {
      const int64_t t = in.reverse ? in.length(n) - 1 - s : s;
      row.step(in.x_at(t, n));
      const int64_t at = packed ? in.offsets[static_cast<std::size_t>(n)] + t : t * in.batch + n;
      if (!got.y.empty()) expect_within(row.h, got.y.data() + at * P, "y");
      if (!got.c_seq.empty()) expect_within(row.c, got.c_seq.data() + at * H, "c_seq");
      if (got.gates[0].empty()) continue;
      const std::vector<Bounded>* const gates[] = {&row.i, &row.f, &row.o, &row.ci, &row.co};
      for (int g = 0; g < 5; ++g)
        if (!(poisoned && g == 1)) expect_within(*gates[g], got.gates[g].data() + at * H, "a gate");
    }
    expect_within(row.c, got.c_n.data() + n * H, "c_n");
    expect_within(row.h, got.h_n.data() + n * P, "h_n");
    if (packed) continue;
    const std::vector<T> zeros(static_cast<std::size_t>(std::max(H, P)));
    for (int64_t t = in.length(n); t < in.steps; ++t) {
      const int64_t at = t * in.batch + n;
      require(got.y.empty() || same(got.y.data() + at * P, zeros.data(), P), "y past a row's length");
      require(got.c_seq.empty() || same(got.c_seq.data() + at * H, zeros.data(), H), "c_seq past a length");
      for (const auto& gate : got.gates)
        for (int64_t u = 0; u < (gate.empty() ? 0 : H); ++u)
          require(Guarded<T>::is_canary(gate[static_cast<std::size_t>(at * H + u)]), "a gate past a length");
    }
  }
}

// Each row by itself, one step at a time, in memory of its own.
template <class T>
void compare_with_steps(Input& input, const Lstm<T>& lstm, const Inputs<T>& in, const Results<T>& got) {
  const int64_t I = lstm.spec().input_size, H = lstm.spec().num_units, P = lstm.spec().output_size();
  for (int64_t n = 0; n < in.batch; ++n) {
    Guarded<T> x(input, I), c(input, H), h(input, P), h_next(input, P);
    const std::vector<T> zeros(static_cast<std::size_t>(std::max(H, P)));
    std::copy_n(in.has_c0 ? in.c0.data() + n * H : zeros.data(), H, c.data());
    std::copy_n(in.has_h0 ? in.h0.data() + n * P : zeros.data(), P, h.data());
    for (int64_t s = 0; s < in.length(n); ++s) {
      const int64_t t = in.reverse ? in.length(n) - 1 - s : s;
      std::copy_n(in.x_at(t, n), I, x.data());
      lstm.step(1, x.data(), c.data(), h.data(), c.data(), h_next.data());
      std::swap(h, h_next);
      const int64_t at =
          in.kind == Lengths::packed ? in.offsets[static_cast<std::size_t>(n)] + t : t * in.batch + n;
      require(got.y.empty() || same(got.y.data() + at * P, h.data(), P), "a row alone, step by step: y");
    }
    require(same(got.c_n.data() + n * H, c.data(), H), "a row alone, step by step: c");
    require(same(got.h_n.data() + n * P, h.data(), P), "a row alone, step by step: h");
  }
}

// The sequence in two calls; the second goes on from the states of the first, in place.
template <class T>
void compare_with_chunks(Input& input, const Lstm<T>& lstm, const Inputs<T>& in, const Results<T>& got) {
  if (in.kind == Lengths::packed || in.reverse || in.x.empty()) return;
  const int64_t cut = input.integer(0, in.steps);
  Outputs<T> out(input, in, lstm.spec());
  ForwardArgs<T> args = in.args();
  out.add_to(args);
  const auto from = [](auto view, int64_t t) {
    if (view) view.data = view.at(t, 0);
    return view;
  };
  for (const auto& [begin, end] : {std::pair(int64_t{0}, cut), std::pair(cut, in.steps)}) {
    std::vector<int64_t> lengths;
    for (const int64_t length : in.lengths)
      lengths.push_back(std::min(std::max<int64_t>(length - begin, 0), end - begin));
    ForwardArgs<T> chunk = args;
    chunk.steps = end - begin;
    chunk.lengths = lengths.data();
    chunk.x = from(args.x, begin);
    chunk.y = from(args.y, begin);
    chunk.c_seq = from(args.c_seq, begin);
    if (out.has_gates)
      for (auto gate : {&chunk.gates.i, &chunk.gates.f, &chunk.gates.o, &chunk.gates.ci, &chunk.gates.co})
        *gate += begin * in.batch * lstm.spec().num_units;
    lstm.forward(chunk);
    args.c0 = args.c_n;
    args.h0 = args.h_n;
  }
  require(Results<T>(out).agrees(got), "two chunks and the whole");
}

template <class T>
void one_layer(Input& input) {
  const Layer<T> layer(input, random_spec(input));
  const Inputs<T> in(input, layer.spec, Sizes(input, layer.row_cost()));
  const std::vector<std::string> isas = lstmcore::supported_isas();
  const std::string isa =
      isas[static_cast<std::size_t>(input.integer(0, static_cast<int64_t>(isas.size()) - 1))];
  const Lstm<T> lstm = layer.lstm(isa);
  const Results<T> serial = run(input, lstm, in, 1);
  ++counts.runs;
  compare_with_reference(layer, in, serial);
  require(run(input, lstm, in, static_cast<int>(input.integer(0, 8))).agrees(serial), "other threads");
  compare_with_chunks(input, lstm, in, serial);
  if (input.one_in(3)) compare_with_steps(input, lstm, in, serial);
  if (isa == "avx2" && isas.back() == "avx512")
    require(run(input, layer.lstm("avx512"), in, 2).agrees(serial), "AVX2 and AVX-512");

  // Beside another layer of the same inputs' size, as the two directions of one are.
  if (!input.one_in(3)) return;
  LstmSpec other_spec = random_spec(input);
  const Layer<T> other_layer(input, other_spec);
  const Inputs<T> other_in(input, other_spec, Sizes(input, other_layer.row_cost()));
  const Lstm<T> other = other_layer.lstm(isa);
  const Results<T> other_serial = run(input, other, other_in, 1);
  Outputs<T> out(input, in, layer.spec), other_out(input, other_in, other_spec);
  lstmcore::ForwardCall<T> calls[] = {{&lstm, in.args()}, {&other, other_in.args()}};
  out.add_to(calls[0].args);
  other_out.add_to(calls[1].args);
  calls[0].args.threads = calls[1].args.threads = static_cast<int>(input.integer(0, 5));
  lstmcore::forward_all(calls, 2);
  require(Results<T>(out).agrees(serial) && Results<T>(other_out).agrees(other_serial), "side by side");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  lstmcore::set_num_threads(static_cast<int>(input.integer(1, 8)));
  input.flip() ? one_layer<float>(input) : one_layer<double>(input);
  return 0;
}
