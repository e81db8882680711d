// Streams and banks through random scripts of calls: every row must get the bits that it gets alone, one
// Lstm::step at a time (which fuzz_lstm compares with the reference).
#include <map>

#include "layer.h"
#include "lstmcore/stream_bank.h"

namespace {

using namespace fuzz;

template <class T>
struct Model {
  std::vector<Layer<T>> layers;
  lstmcore::Layers<T> lstms;
  double row_cost = 0;
  int64_t I, P, S = 0;

  explicit Model(Input& input) {
    int64_t width = input.size();
    I = width;
    for (int64_t k = input.integer(1, 3); k > 0; --k) {
      LstmSpec spec = random_spec(input);
      spec.input_size = width;
      layers.emplace_back(input, spec);
      lstms.push_back(std::make_shared<const Lstm<T>>(layers.back().lstm()));
      row_cost += layers.back().row_cost();
      S += spec.num_units + spec.output_size();
      width = spec.output_size();
    }
    P = width;
  }

  // One step of one row whose state has S values: c and h of each layer in turn.
  std::vector<T> step(const T* x, std::vector<T>& state) const {
    std::vector<T> next(state), out(x, x + I);
    int64_t offset = 0;
    for (const auto& lstm : lstms) {
      const int64_t H = lstm->spec().num_units, P = lstm->spec().output_size();
      lstm->step(1, out.data(), state.data() + offset, state.data() + offset + H, next.data() + offset,
                 next.data() + offset + H);
      out.assign(next.begin() + offset + H, next.begin() + offset + H + P);
      offset += H + P;
    }
    state.swap(next);
    return out;
  }
};

template <class T>
void check_states(const lstmcore::Stream<T>& stream, const std::vector<std::vector<T>>& rows) {
  std::vector<T> state(static_cast<std::size_t>(stream.state_size()));
  for (std::size_t n = 0; n < rows.size(); ++n) {
    stream.read_state(static_cast<int64_t>(n), state.data());
    require(same(state, rows[n]), "the state of a stream");
  }
}

// Some steps by one push, or one by step(); out may be in any layout for a push.
template <class T>
void advance(Input& input, const Model<T>& model, lstmcore::Stream<T>& stream,
             std::vector<std::vector<T>>& rows) {
  const int64_t N = stream.rows();
  const bool single = input.flip();
  const double least = model.row_cost * static_cast<double>(std::max<int64_t>(N, 1));
  const int64_t most = input.one_in(5) ? 600 : 9;  // a push goes through blocks of steps
  const int64_t steps = single ? 1 : std::min(input.integer(0, most), static_cast<int64_t>(4e5 / least) + 1);
  Sequence<T> x, out;
  Guarded<T> dense_x(input, N * model.I, 2, Kind::plain), dense_out(input, N * model.P);
  if (single) {
    stream.step(dense_x.data(), dense_out.data());
  } else {
    x = Sequence<T>(input, steps, N, model.I, true);
    fill_random(x.memory().data(), x.memory().size(), 2, static_cast<std::uint64_t>(input.integer(0, 255)),
                Kind::plain);
    out = Sequence<T>(input, steps, N, model.P, false);
    stream.push(steps, x.template view<const T>(), out.template view<T>());
    out.dense();
  }
  for (int64_t t = 0; t < steps; ++t)
    for (int64_t n = 0; n < N; ++n) {
      const T* const from = single ? dense_x.data() + n * model.I : x.at(t, n);
      const std::vector<T> expected = model.step(from, rows[static_cast<std::size_t>(n)]);
      require(same(expected.data(), single ? dense_out.data() + n * model.P : out.at(t, n), model.P),
              "an output of a stream");
    }
  require(dense_out.intact_before(), "written before an output");
}

template <class T>
void one_stream(Input& input, const Model<T>& model) {
  const int64_t N = input.one_in(4) ? input.integer(0, 40) : input.integer(0, 6);
  lstmcore::Stream<T> stream(model.lstms, N);
  std::vector<std::vector<T>> rows(static_cast<std::size_t>(N),
                                   std::vector<T>(static_cast<std::size_t>(model.S)));
  for (int64_t turn = input.integer(1, 6); turn > 0; --turn) {
    switch (input.integer(0, 5)) {
      case 0: {
        if (N == 0) break;
        const int64_t n = input.integer(0, N - 1);
        const Guarded<T> state(input, model.S, 1, Kind::plain);
        stream.write_state(n, state.data());
        rows[static_cast<std::size_t>(n)].assign(state.data(), state.data() + model.S);
        break;
      }
      case 1: {  // a copy goes its own way
        lstmcore::Stream<T> copy(stream);
        auto copied = rows;
        advance(input, model, copy, copied);
        check_states(copy, copied);
        break;
      }
      case 2:
        expect_refused("push", [&] { stream.push(-input.integer(1, 99), {}, {}); });
        if (!input.one_in(4)) break;
        stream.reset();
        for (auto& row : rows) row.assign(row.size(), T(0));
        break;
      default:
        advance(input, model, stream, rows);
    }
    check_states(stream, rows);
  }
  ++counts.runs;
}

template <class T>
void step_bank(Input& input, const Model<T>& model, lstmcore::StreamBank<T>& bank,
               std::map<int64_t, std::vector<T>>& alone) {
  std::vector<int64_t> ids;
  const bool all = input.one_in(3);
  for (const auto& [id, state] : alone)
    if (all || input.flip()) ids.push_back(id);
  if (!all && input.flip()) std::reverse(ids.begin(), ids.end());
  const auto n = static_cast<int64_t>(ids.size());
  Guarded<T> x(input, n * model.I, 2, Kind::plain), out(input, n * model.P);
  all ? bank.step_all(x.data(), out.data()) : bank.step(n, ids.data(), x.data(), out.data());
  for (int64_t k = 0; k < n; ++k) {
    const std::vector<T> expected =
        model.step(x.data() + k * model.I, alone[ids[static_cast<std::size_t>(k)]]);
    require(same(expected.data(), out.data() + k * model.P, model.P), "an output of a bank");
  }
  require(out.intact_before(), "written before an output of a bank");
}

// Ids that are not there, or twice.
template <class T>
void refused_step(Input& input, const Model<T>& model, lstmcore::StreamBank<T>& bank,
                  const std::map<int64_t, std::vector<T>>& alone) {
  std::vector<int64_t> ids;
  for (const auto& [id, state] : alone) ids.push_back(id);
  const bool twice = !ids.empty() && input.flip();
  const int64_t past = ids.empty() ? 0 : ids.back() + 1;
  ids.push_back(twice ? ids[static_cast<std::size_t>(input.integer(0, static_cast<int64_t>(ids.size()) - 1))]
                      : input.pick<int64_t>({-1, past, std::numeric_limits<int64_t>::max()}));
  if (input.flip()) std::reverse(ids.begin(), ids.end());
  const auto n = static_cast<int64_t>(ids.size());
  Guarded<T> x(input, n * model.I, 2, Kind::plain), out(input, n * model.P);
  try {
    bank.step(n, ids.data(), x.data(), out.data());
    fail("a bank's step with a wrong id was accepted");
  } catch (const std::invalid_argument&) {
    require(twice, "an unknown id was refused as one that comes twice");
  } catch (const std::out_of_range&) {
    require(!twice, "an id that comes twice was refused as unknown");
  }
  ++counts.refused;
  require(out.untouched(), "a refused step of a bank wrote something");
}

template <class T>
void one_bank(Input& input, const Model<T>& model) {
  lstmcore::StreamBank<T> bank(model.lstms, input.integer(0, 5));
  std::map<int64_t, std::vector<T>> alone;
  for (int64_t turn = input.integer(1, 24); turn > 0; --turn) {
    const int64_t choice = input.integer(0, 6);
    if (alone.empty() || choice == 0) {
      const Guarded<T> state(input, model.S, 1, Kind::plain);
      const bool zeros = input.flip();
      const int64_t id = bank.join(zeros ? nullptr : state.data());
      require(alone.empty() || id > alone.rbegin()->first, "an id was given twice");
      alone[id] = zeros ? std::vector<T>(static_cast<std::size_t>(model.S))
                        : std::vector<T>(state.data(), state.data() + model.S);
    } else if (choice == 1) {
      const auto at = std::next(alone.begin(), input.integer(0, static_cast<int64_t>(alone.size()) - 1));
      bank.leave(at->first);
      alone.erase(at);
    } else if (choice == 2) {
      refused_step(input, model, bank, alone);
    } else if (choice == 3) {
      const Guarded<T> state(input, model.S, 1, Kind::plain);
      bank.set_state(alone.begin()->first, state.data());
      alone.begin()->second.assign(state.data(), state.data() + model.S);
    } else {
      step_bank(input, model, bank, alone);
    }
    require(bank.size() == static_cast<int64_t>(alone.size()), "the size of a bank");
    for (const auto& [id, state] : alone)
      require(same(bank.state(id), state.data(), model.S), "the state of a stream in a bank");
  }
  ++counts.runs;
}

template <class T>
void one_model(Input& input) {
  const Model<T> model(input);
  if (input.one_in(16)) {
    lstmcore::Layers<T> bad = model.lstms;
    if (input.flip()) bad.clear();
    if (!bad.empty())
      bad[static_cast<std::size_t>(input.integer(0, static_cast<int64_t>(bad.size()) - 1))] = nullptr;
    expect_refused("a stream of bad layers", [&] { lstmcore::Stream<T>(bad, 1); });
    expect_refused("a bank of bad layers", [&] { lstmcore::StreamBank<T>{bad}; });
    expect_refused("negative rows", [&] { lstmcore::Stream<T>(model.lstms, -1); });
    expect_refused("negative capacity", [&] { lstmcore::StreamBank<T>(model.lstms, -1); });
  }
  input.flip() ? one_stream(input, model) : one_bank(input, model);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  lstmcore::set_num_threads(static_cast<int>(input.integer(1, 6)));
  input.flip() ? one_model<float>(input) : one_model<double>(input);
  return 0;
}
