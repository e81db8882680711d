// Calls with one thing wrong: std::invalid_argument, and no output touched. Sizes that are too large for any
// memory: std::bad_alloc or std::length_error, before a weight is read.
#include "call.h"

namespace {

using namespace fuzz;

constexpr int64_t kLeast = std::numeric_limits<int64_t>::min(), kMost = std::numeric_limits<int64_t>::max();

int64_t bad_size(Input& input) {
  return input.pick<int64_t>({-1, -7, kLeast, lstmcore::kMaxSize + 1, kMost});
}

// The spec is valid, but no memory would do.
template <class T>
void absurd_sizes(Input& input, const Layer<T>& layer) {
  LstmSpec spec = layer.spec;
  // One of them alone makes weights that a system may promise and never give.
  const int64_t absurd = input.pick<int64_t>({lstmcore::kMaxSize, lstmcore::kMaxSize / 2 + 1});
  spec.input_size = spec.num_units = absurd;
  if (spec.num_proj) spec.num_proj = input.pick<int64_t>({absurd, 1});
  const T one = 1;  // all that may be read, which is nothing
  try {
    const Lstm<T> lstm(spec, {&one, &one, &one, &one, &one, &one, &one});
    fail("weights of terabytes were packed");
  } catch (const std::bad_alloc&) {
    ++counts.refused;
  } catch (const std::length_error&) {  // the product of the sizes overflows
    ++counts.refused;
  }
}

template <class T>
void refused_spec(Input& input, const Layer<T>& layer) {
  LstmSpec spec = layer.spec;
  lstmcore::LstmWeights<T> weights = layer.weights();
  spec.num_units = std::max<int64_t>(1, spec.num_units);  // or no weight would be wanted
  switch (input.integer(0, 5)) {
    case 0:
      spec.input_size = bad_size(input);
      break;
    case 1:
      spec.num_units = bad_size(input);
      break;
    case 2:
      spec.num_proj = bad_size(input);
      break;
    case 3:
      spec.recurrent_activation = input.pick({Activation::tanh, Activation::relu, Activation::silu});
      break;
    case 4: {
      const int past = static_cast<int>(Activation::silu) + 1;
      (input.flip() ? spec.activation : spec.recurrent_activation) =
          static_cast<Activation>(input.pick({past, -1, 1 << 30}));
      break;
    }
    default:
      switch (input.integer(0, 3)) {
        case 0:
          weights.b = nullptr;
          break;
        case 1:
          if (spec.input_size == 0) return;
          weights.W = nullptr;
          break;
        case 2:
          if (spec.output_size() == 0) return;
          weights.R = nullptr;
          break;
        default:
          if (spec.peepholes)
            (input.flip() ? weights.p_i : input.flip() ? weights.p_f : weights.p_o) = nullptr;
          else if (spec.num_proj.value_or(0) > 0)
            weights.projection = nullptr;
          else
            return;
      }
  }
  expect_refused("a spec", [&] { Lstm<T>(spec, weights); });
}

// One thing wrong with `args`; false where that cannot be, of this layer or these lengths.
template <class T>
bool spoil(Input& input, const LstmSpec& spec, const Inputs<T>& in, ForwardArgs<T>& args,
           std::vector<int64_t>& numbers) {
  static T gate[1];
  const auto wrong = [&](int64_t limit) {
    return input.pick<int64_t>({-1, limit + 1, kLeast, kMost, limit + 100});
  };
  switch (input.integer(0, 6)) {
    case 0:
      args.steps = input.pick<int64_t>({-1, kLeast, -1000});
      return true;
    case 1:
      args.batch = input.pick<int64_t>({-1, kLeast, -1000});
      return true;
    case 2:  // a length, or an offset, that is none
      if (in.kind == Lengths::full || in.batch == 0 || in.steps == kMost) return false;
      numbers = in.kind == Lengths::ragged ? in.lengths : in.offsets;
      if (in.kind == Lengths::ragged) {
        numbers[static_cast<std::size_t>(input.integer(0, in.batch - 1))] = wrong(in.steps);
        args.lengths = numbers.data();
      } else {
        const int64_t k = input.integer(0, in.batch);
        numbers[static_cast<std::size_t>(k)] =
            k == 0 ? input.pick<int64_t>({1, -1, kMost, kLeast})
                   : (input.flip() ? numbers[static_cast<std::size_t>(k - 1)] - 1
                                   : numbers[static_cast<std::size_t>(k - 1)] + in.steps + 1);
        args.offsets = numbers.data();
      }
      return true;
    case 3:  // lengths and offsets
      if (in.batch == 0) return false;
      args.lengths = in.lengths.data();
      args.offsets = in.offsets.data();
      return true;
    case 4:
      if (in.batch * spec.num_units == 0) return false;
      args.c_n = nullptr;
      return true;
    case 5:
      if (in.x.empty()) return false;
      args.x.data = nullptr;
      return true;
    default:  // gates where there are none
      if (!spec.num_proj && in.kind != Lengths::packed) return false;
      args.gates = {gate, gate, gate, gate, gate};
      return true;
  }
}

template <class T>
void refused_call(Input& input, const Layer<T>& layer) {
  const Inputs<T> in(input, layer.spec, Sizes(input, layer.row_cost()));
  Outputs<T> out(input, in, layer.spec);
  const Lstm<T> lstm = layer.lstm();
  ForwardArgs<T> args = in.args(), bad = args;
  out.add_to(bad);
  std::vector<int64_t> numbers;
  if (!spoil(input, layer.spec, in, bad, numbers)) return;
  expect_refused("forward", [&] { lstm.forward(bad); });
  require(out.untouched(), "a refused call wrote something");

  // The same call as one of two, first or second.
  Outputs<T> good_out(input, in, layer.spec);
  good_out.add_to(args);
  lstmcore::ForwardCall<T> calls[] = {{&lstm, args}, {&lstm, bad}};
  if (input.flip()) std::swap(calls[0], calls[1]);
  expect_refused("forward_all", [&] { lstmcore::forward_all(calls, 2); });
  require(out.untouched() && good_out.untouched(), "a refused pair of calls wrote something");
}

// However many steps cost nothing where no row has them and no output wants them.
template <class T>
void endless_padding(Input& input, const Layer<T>& layer) {
  Inputs<T> in(input, layer.spec, Sizes(input, layer.row_cost()));
  if (in.kind != Lengths::ragged) return;
  const Lstm<T> lstm = layer.lstm();
  const int64_t H = layer.spec.num_units, P = layer.spec.output_size();
  Guarded<T> c[2] = {{input, in.batch * H}, {input, in.batch * H}},
             h[2] = {{input, in.batch * P}, {input, in.batch * P}};
  for (const int k : {0, 1}) {
    ForwardArgs<T> args = in.args();
    if (k) args.steps = input.pick<int64_t>({int64_t{1} << 40, int64_t{1} << 44});
    args.c_n = c[k].data();
    args.h_n = h[k].data();
    lstm.forward(args);
  }
  require(same(c[0].data(), c[1].data(), in.batch * H) && same(h[0].data(), h[1].data(), in.batch * P),
          "endless padding");
  ++counts.runs;
}

template <class T>
void one_refusal(Input& input) {
  const Layer<T> layer(input, random_spec(input));
  switch (input.integer(0, 7)) {
    case 0:
      return absurd_sizes(input, layer);
    case 1:
      return endless_padding(input, layer);
    case 2:
    case 3:
      return refused_spec(input, layer);
    default:
      return refused_call(input, layer);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  lstmcore::set_num_threads(2);
  input.flip() ? one_refusal<float>(input) : one_refusal<double>(input);
  return 0;
}
