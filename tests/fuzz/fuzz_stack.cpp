// Stacks of layers of one direction or two in one call, against their layers one by one and serially (which
// fuzz_lstm compares with the reference).
#include "call.h"
#include "lstmcore/stack.h"

namespace {

using namespace fuzz;
using lstmcore::StackArgs;
using lstmcore::StackLayer;

template <class T>
struct Model {
  std::vector<StackLayer<T>> layers;
  double row_cost = 0;

  explicit Model(Input& input) {
    int64_t width = input.size();
    for (int64_t k = input.integer(1, 3); k > 0; --k) {
      StackLayer<T> layer;
      const int64_t directions = input.pick<int64_t>({1, 2, 3, 3});
      if (directions & 1) layer.forward = make(input, width);
      if (directions & 2) layer.backward = make(input, width);
      layers.push_back(layer);
      width = layer.output_size();
    }
  }
  std::shared_ptr<const Lstm<T>> make(Input& input, int64_t width) {
    LstmSpec spec = random_spec(input);
    spec.input_size = width;
    const Layer<T> layer(input, spec);
    row_cost += layer.row_cost();
    return std::make_shared<const Lstm<T>>(layer.lstm());
  }
};

// c_n and h_n of every direction.
template <class T>
struct States {
  std::vector<Guarded<T>> c0, h0, c_n, h_n;
  bool zeros;

  States(Input& input, const Model<T>& model, int64_t batch) : zeros(input.flip()) {
    for (const auto& layer : model.layers)
      for (const auto& lstm : {layer.forward, layer.backward}) {
        if (!lstm) continue;
        c0.emplace_back(input, batch * lstm->spec().num_units, 1, Kind::plain);
        h0.emplace_back(input, batch * lstm->spec().output_size(), 1, Kind::plain);
        c_n.emplace_back(input, batch * lstm->spec().num_units);
        h_n.emplace_back(input, batch * lstm->spec().output_size());
      }
  }
  std::vector<lstmcore::StackState<T>> args() const {
    std::vector<lstmcore::StackState<T>> states;
    for (std::size_t k = 0; k < c0.size(); ++k)
      states.push_back(
          {zeros ? nullptr : c0[k].data(), zeros ? nullptr : h0[k].data(), c_n[k].data(), h_n[k].data()});
    return states;
  }
  bool untouched() const {
    for (const auto* arrays : {&c_n, &h_n})
      for (const auto& array : *arrays)
        if (!array.untouched()) return false;
    return true;
  }
};

// Dense outputs of the last layer and its c_seq; every direction's final states are compared on the way.
template <class T>
std::pair<std::vector<T>, std::vector<T>> one_by_one(const Model<T>& model, const Inputs<T>& in,
                                                     const States<T>& got) {
  ForwardArgs<T> args = in.args();
  std::vector<T> values, cells;
  std::size_t k = 0;
  const int64_t rows = in.kind == Lengths::packed ? in.offsets.back() : in.steps * in.batch;
  for (const auto& layer : model.layers) {
    const int64_t out = layer.output_size(), units = layer.num_units();
    std::vector<T> y, c_seq;
    y.reserve(static_cast<std::size_t>(rows * out + 1));  // not null, whatever the size
    c_seq.reserve(static_cast<std::size_t>(rows * units + 1));
    y.resize(static_cast<std::size_t>(rows * out));
    c_seq.resize(static_cast<std::size_t>(rows * units));
    const int64_t rows_of_step = in.kind == Lengths::packed ? 1 : in.batch;
    int64_t y_begin = 0, c_begin = 0;
    for (const bool reverse : {false, true}) {
      const auto& lstm = reverse ? layer.backward : layer.forward;
      if (!lstm) continue;
      const int64_t H = lstm->spec().num_units, P = lstm->spec().output_size();
      std::vector<T> c_n(static_cast<std::size_t>(in.batch * H)), h_n(static_cast<std::size_t>(in.batch * P));
      args.reverse = reverse;
      args.threads = 1;
      args.c0 = got.zeros ? nullptr : got.c0[k].data();
      args.h0 = got.zeros ? nullptr : got.h0[k].data();
      args.y = {y.data() + y_begin, rows_of_step * out, out};
      args.c_seq = {c_seq.data() + c_begin, rows_of_step * units, units};
      args.c_n = c_n.data();
      args.h_n = h_n.data();
      lstm->forward(args);
      require(same(c_n.data(), got.c_n[k].data(), in.batch * H), "c_n of a layer");
      require(same(h_n.data(), got.h_n[k].data(), in.batch * P), "h_n of a layer");
      y_begin += P;
      c_begin += H;
      ++k;
    }
    values = std::move(y);
    cells = std::move(c_seq);
    args.x = {values.data(), rows_of_step * out, out};
  }
  return {values, cells};
}

template <class T>
void spoil(Input& input, const Inputs<T>& in, std::vector<StackLayer<T>>& layers, StackArgs<T>& args,
           std::vector<int64_t>& numbers) {
  const int64_t least = std::numeric_limits<int64_t>::min();
  switch (input.integer(0, 5)) {
    case 0:
      args.call.steps = input.pick<int64_t>({-1, least, -1000});
      return;
    case 1:
      args.call.batch = input.pick<int64_t>({-1, least, -1000});
      return;
    case 2:
      args.states.resize(args.states.size() + (input.flip() ? 1 : std::size_t(-1)));
      return;
    case 3:
      input.flip() ? layers.clear() : layers.push_back({});
      return;
    case 4: {
      LstmSpec spec;
      spec.input_size = layers.back().output_size() + 1;
      spec.num_units = 1;
      const std::vector<T> weights(static_cast<std::size_t>(spec.input_size * 4 + 8));
      layers.push_back({std::make_shared<const Lstm<T>>(
                            spec, lstmcore::LstmWeights<T>{weights.data(), weights.data(), weights.data()}),
                        nullptr});
      args.states.push_back({});
      return;
    }
    default:
      if (in.batch > 0 && in.kind != Lengths::full) {
        numbers = in.kind == Lengths::packed ? in.offsets : in.lengths;
        numbers.back() = input.pick<int64_t>({-1, numbers.back() + in.steps + 1, least});
        (in.kind == Lengths::packed ? args.call.offsets : args.call.lengths) = numbers.data();
      } else if (in.batch == 0) {
        args.call.steps = -1;
      } else {
        args.call.lengths = in.lengths.data();
        args.call.offsets = in.offsets.data();
      }
  }
}

template <class T>
void one_stack(Input& input) {
  const Model<T> model(input);
  LstmSpec ends;  // what the call's arrays are as wide as
  ends.input_size = model.layers.front().input_size();
  const Inputs<T> in(input, ends, Sizes(input, model.row_cost));
  const bool packed = in.kind == Lengths::packed;
  const int64_t T_ = packed ? in.offsets.back() : in.steps, N = packed ? 1 : in.batch;
  Sequence<T> y(input, T_, N, model.layers.back().output_size(), false),
      c_seq(input, T_, N, model.layers.back().num_units(), false);
  const bool has_y = !input.one_in(4), has_c_seq = input.one_in(3);
  const States<T> states(input, model, in.batch);
  StackArgs<T> args;
  args.call = in.args();
  args.call.c0 = args.call.h0 = nullptr;
  if (has_y) args.call.y = y.template view<T>();
  if (has_c_seq) args.call.c_seq = c_seq.template view<T>();
  args.call.threads = static_cast<int>(input.integer(0, 6));
  args.states = states.args();
  if (input.one_in(4)) {
    std::vector<StackLayer<T>> layers = model.layers;
    std::vector<int64_t> numbers;
    spoil(input, in, layers, args, numbers);
    expect_refused("forward_stack", [&] { lstmcore::forward_stack(layers, args); });
    require(states.untouched() && y.memory().untouched() && c_seq.memory().untouched(),
            "a refused stack wrote");
    return;
  }
  lstmcore::forward_stack(model.layers, args);
  const auto [expected, cells] = one_by_one(model, in, states);
  require(!has_y || same(y.dense(), expected), "the outputs of a stack");
  require(!has_c_seq || same(c_seq.dense(), cells), "the cell states of a stack");
  ++counts.runs;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  lstmcore::set_num_threads(static_cast<int>(input.integer(1, 8)));
  input.flip() ? one_stack<float>(input) : one_stack<double>(input);
  return 0;
}
