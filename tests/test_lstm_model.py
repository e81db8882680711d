"""``lstmcore.LSTM``: a whole model in one call, against the float64 equations."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import lstmcore
import reference
import tolerances
from lstmcore import LSTM
from lstmcore.models import Cell, CellSpec, StackLayer

N, T, I = 4, 9, 5
LENGTHS = [9, 3, 0, 5]

MODELS: dict[str, dict[str, Any]] = {
    "plain": {"num_units": 7},
    "stack": {"num_units": 17, "num_layers": 3, "forget_bias": 0.7},
    "bidirectional": {"num_units": 7, "num_layers": 2, "bidirectional": True},
    "all options": {
        "num_units": 9,
        "num_layers": 2,
        "bidirectional": True,
        "num_proj": 4,
        "use_peepholes": True,
        "forget_bias": -0.4,
        "cell_clip": 0.3,
        "proj_clip": 0.2,
        "activation": "softsign",
    },
    "hard gates": {"num_units": 6, "recurrent_activation": "hard_sigmoid"},
    "hard gates of Keras 3": {"num_units": 6, "recurrent_activation": "hard_sigmoid_keras3"},
}
HARD = {"hard_sigmoid": 0.2, "hard_sigmoid_keras3": 1 / 6}


def model_of(name: str, dtype: Any = np.float32) -> LSTM:
    """With biases and peepholes that are not zero, and gates that saturate where they are hard."""
    model = LSTM(I, **MODELS[name], dtype=dtype, seed=3)
    random = np.random.default_rng(4)
    scale = 2.0 if name.startswith("hard") else 0.4
    model.set_weights(
        {k: random.normal(0, scale, v.shape).astype(v.dtype) for k, v in model.weights.items()}
    )
    return model


def inputs(dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(N, T, I)).astype(dtype)


def random_state(model: LSTM) -> tuple[Any, ...]:
    random = np.random.default_rng(6)
    return tuple(
        tuple(random.normal(0, 0.5, part.shape).astype(part.dtype) for part in pair)
        for pair in model.zero_state(N)
    )


def expected(model: LSTM, x: Any, state: Any, lengths: Any) -> tuple[Any, Any, list[Any]]:
    """Outputs and cell states of the last layer, final states, by the equations."""
    finals, states = [], iter(state)
    for layer in model.layers:
        parts = []
        for side, cell in layer.cells:
            spec, w = cell.spec, cell.weights
            done = reference.forward(
                reference.Cell(
                    w["kernel"],
                    w["bias"],
                    w.get("w_i_diag"),
                    w.get("w_f_diag"),
                    w.get("w_o_diag"),
                    w.get("projection"),
                    spec.forget_bias,
                    spec.cell_clip,
                    spec.proj_clip,
                    spec.activation,
                ),
                x,
                *next(states),
                lengths=np.asarray(lengths),
                reverse=side == "backward",
            )
            parts.append(done)
            finals.append((done.c, done.h))
        x = np.concatenate([part.y for part in parts], axis=2)
    return x, np.concatenate([part.cs for part in parts], axis=2), finals


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> Any:
    return np.dtype(request.param)


@pytest.mark.parametrize("name", MODELS)
def test_all_outputs(name: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = model_of(name, dtype), inputs(dtype)
    state = random_state(model)
    gates = HARD.get(MODELS[name].get("recurrent_activation", ""))
    if gates:
        hard = lambda z: np.clip(gates * z + 0.5, 0.0, 1.0)  # noqa: E731
        monkeypatch.setattr(reference, "sigmoid", hard)
    y, cs, finals = expected(model, x, state, LENGTHS)
    bound = tolerances.AGAINST_REFERENCE[dtype.name]["sequence"]
    (h, c), final = model(x, LENGTHS, state, "hc", return_state=True)
    assert h.dtype == dtype
    assert tolerances.error(h, y) <= bound
    assert tolerances.error(c, cs) <= bound
    for pair, want in zip(final, finals, strict=True):
        for got, value in zip(pair, want, strict=True):
            assert tolerances.error(got, value) <= bound
    assert np.array_equal(model(x, LENGTHS, state), h)
    assert np.array_equal(model(x, LENGTHS, state, "c"), c)
    sides = len(model.layers[-1].cells)
    last = np.concatenate([pair.h for pair in final[-sides:]], axis=1)
    assert np.array_equal(model(x, LENGTHS, state, "last"), last)


@pytest.mark.parametrize("name", MODELS)
def test_rows_layouts_and_threads_give_the_same_bits(name: str) -> None:
    model, x = model_of(name), inputs()
    y, state = model(x, LENGTHS, return_state=True)
    time_major = model(np.ascontiguousarray(x.swapaxes(0, 1)), LENGTHS, time_major=True)
    assert np.array_equal(time_major.swapaxes(0, 1), y)
    offsets = np.cumsum([0, *LENGTHS])
    packed = np.concatenate([row[:length] for row, length in zip(x, LENGTHS, strict=True)])
    got, packed_state = model(packed, offsets=offsets, return_state=True)
    for n, length in enumerate(LENGTHS):
        assert np.array_equal(got[offsets[n] : offsets[n + 1]], y[n, :length])
        if length:
            assert np.array_equal(model(x[n : n + 1, :length])[0], y[n, :length])
    for pair, other in zip(state, packed_state, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(pair, other, strict=True))
    for threads in (1, 2):
        assert np.array_equal(model(x, LENGTHS, threads=threads), y)
    assert not y[1, 3:].any()


def test_layers_are_the_cells() -> None:
    """One engine: dynamic_rnn over the same weights gives the same bits."""
    model, x = model_of("stack"), inputs()
    cells = []
    for layer in model.layers:
        assert layer.forward is not None
        cell = lstmcore.LSTMCell(17, forget_bias=0.7, dtype=np.float32)
        cell.build((None, layer.forward.spec.input_size))
        cell.set_weights([layer.forward.weights[role] for role in ("kernel", "bias")])
        cells.append(cell)
    y, _ = lstmcore.dynamic_rnn(
        lstmcore.MultiRNNCell(cells), x, sequence_length=LENGTHS, dtype=np.float32
    )
    assert np.array_equal(model(x, LENGTHS), y)


@pytest.mark.parametrize("outputs", ["all", "last"])
@pytest.mark.parametrize("name", ["stack", "all options"])
def test_out(name: str, outputs: str) -> None:
    model, x = model_of(name), inputs()
    want = model(x, LENGTHS, outputs=outputs)
    wide = np.full((*want.shape[:-1], want.shape[-1] + 3), 7.0, np.float32)
    out = wide[..., 1:-2]
    got = model(x, LENGTHS, outputs=outputs, out=out)
    assert got is out
    assert np.array_equal(out, want)
    assert (wide[..., [0, -2, -1]] == 7.0).all()


def test_a_backward_layer_alone() -> None:
    both = model_of("bidirectional")
    first = both.layers[0]
    model = LSTM.from_layers([StackLayer(None, first.backward)])
    x = inputs()
    y = LSTM.from_layers([first])(x, LENGTHS)
    assert np.array_equal(model(x, LENGTHS), y[:, :, 7:])
    assert not model.bidirectional


def test_sizes_and_names() -> None:
    model = model_of("all options")
    assert (model.input_size, model.output_size, model.num_layers) == (5, 8, 2)
    assert model.bidirectional
    assert model.dtype == np.float32
    assert list(model.weights)[:6] == [
        f"layers.0.forward.{role}"
        for role in ("kernel", "bias", "w_i_diag", "w_f_diag", "w_o_diag", "projection")
    ]
    text = repr(model)
    for fact in ("input_size=5", "num_units=9", "num_proj=4", "bidirectional=True", "-0.4"):
        assert fact in text


def test_empty_batches_and_no_steps() -> None:
    model = model_of("bidirectional")
    assert model(np.zeros((0, T, I), np.float32)).shape == (0, T, 14)
    y, state = model(np.zeros((N, 0, I), np.float32), return_state=True)
    assert y.shape == (N, 0, 14)
    assert not any(part.any() for pair in state for part in pair)
    start = random_state(model)
    _, state = model(np.zeros((N, 0, I), np.float32), initial_state=start, return_state=True)
    assert all(
        np.array_equal(a, b)
        for p, q in zip(start, state, strict=True)
        for a, b in zip(p, q, strict=True)
    )


def test_weights_cannot_be_changed_from_outside() -> None:
    kernel = np.full((12, 28), 0.1, np.float32)
    spec = CellSpec(5, 7)
    model = LSTM.from_layers([StackLayer(Cell(spec, {"kernel": kernel, "bias": kernel[0].copy()}))])
    before = model(inputs())
    kernel[:] = 9.0
    assert np.array_equal(model(inputs()), before)
    assert model.weights["layers.0.forward.kernel"].max() == np.float32(0.1)
    with pytest.raises(ValueError, match="read-only"):
        model.weights["layers.0.forward.kernel"][0, 0] = 1.0


def repickled(model: LSTM) -> Any:
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, repickled])
def test_copies(duplicate: Any) -> None:
    model = model_of("all options")
    other = duplicate(model)
    assert other.weights_equal(model)
    assert np.array_equal(other(inputs(), LENGTHS), model(inputs(), LENGTHS))


def test_weights_equal_sees_options_and_bits() -> None:
    model, other = model_of("plain"), model_of("plain")
    assert model.weights_equal(other)
    changed = {k: v.copy() for k, v in other.weights.items()}
    changed["layers.0.forward.bias"][3] += 1e-6
    other.set_weights(changed)
    assert not model.weights_equal(other)
    assert not model.weights_equal(LSTM(I, 7, forget_bias=1.0))


def test_threads_share_a_model() -> None:
    model, x = model_of("bidirectional"), inputs()
    want = model(x, LENGTHS)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: model(x, LENGTHS), range(40)))
    assert all(np.array_equal(got, want) for got in results)


def test_seeds() -> None:
    assert LSTM(3, 4, seed=1).weights_equal(LSTM(3, 4, seed=1))
    assert not LSTM(3, 4, seed=1).weights_equal(LSTM(3, 4, seed=2))


X = np.zeros((2, 3, 5), np.float32)
REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "dtype of x": ({"x": X.astype(np.float64)}, TypeError, "x: expected float32, got float64"),
    "list": ({"x": [[1.0]]}, TypeError, "x must be a NumPy array"),
    "rank of x": ({"x": X[0]}, ValueError, r"x: expected shape .*x\[None\]"),
    "depth of x": ({"x": X[:, :, :4]}, ValueError, r"x: expected shape \(batch, time, 5\)"),
    "lengths too long": ({"lengths": [3, 4]}, ValueError, r"lengths\[1\] must be in 0\.\.3, got 4"),
    "negative length": ({"lengths": [-1, 2]}, ValueError, r"lengths\[0\] must be in 0\.\.3"),
    "too many lengths": ({"lengths": [1, 2, 3]}, ValueError, "lengths"),
    "float lengths": ({"lengths": [1.0, 2.0]}, ValueError, "lengths: expected integers"),
    "lengths of rank 2": ({"lengths": [[1, 2]]}, ValueError, "lengths: expected integers"),
    "outputs": ({"outputs": "everything"}, ValueError, "outputs must be one of all, last, c, hc"),
    "offsets over padded": ({"offsets": [0, 3]}, ValueError, r"x: expected shape \(total, 5\)"),
    "offsets and lengths": (
        {"x": X[0], "offsets": [0, 3], "lengths": [3]},
        ValueError,
        "lengths and offsets exclude",
    ),
    "offsets that end early": ({"x": X[0], "offsets": [0, 2]}, ValueError, "end with 3"),
    "offsets that decrease": ({"x": X[0], "offsets": [0, 2, 1, 3]}, ValueError, "not decrease"),
    "no offsets": ({"x": X[0], "offsets": []}, ValueError, "offsets"),
    "one offset": ({"x": X[0], "offsets": 5}, TypeError, "offsets must be a NumPy array"),
    "state of another form": ({"initial_state": 3}, TypeError, "initial_state: expected 2 pairs"),
    "state of one layer": (
        {"initial_state": [(np.zeros((2, 7), np.float32),) * 2]},
        ValueError,
        "initial_state: expected 2 pairs",
    ),
    "state's shape": (
        {"initial_state": [(np.zeros((2, 6), np.float32),) * 2] * 2},
        ValueError,
        r"initial_state\[0\]\.c: expected shape \(2, 7\), got \(2, 6\)",
    ),
    "state's dtype": (
        {"initial_state": [(np.zeros((2, 7)),) * 2] * 2},
        TypeError,
        r"initial_state\[0\]\.c: expected float32, got float64",
    ),
    "out's shape": ({"out": np.zeros((2, 3, 6), np.float32)}, ValueError, "out"),
    "out's dtype": ({"out": np.zeros((2, 3, 7))}, TypeError, "out"),
    "out for c": ({"out": X, "outputs": "c"}, ValueError, "out: only for"),
    "out for last": ({"out": X, "outputs": "last"}, ValueError, r"out: expected .*\(2, 7\)"),
    "threads": ({"threads": 0}, ValueError, "threads must be in 1..1024, got 0"),
    "time_major": ({"time_major": "yes"}, TypeError, "time_major must be True or False"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    arguments, error, message = REFUSED[case]
    model = LSTM(5, 7, 2, seed=0)
    with pytest.raises(error, match=message):
        model(**{"x": X, **arguments})


def test_out_may_not_be_an_input() -> None:
    model = LSTM(5, 5, seed=0)
    x = inputs()
    with pytest.raises(ValueError, match="out"):
        model(x, out=x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_size": 0}, "input_size must be >= 1"),
        ({"num_units": 0}, "num_units must be >= 1"),
        ({"num_units": 2.5}, "num_units must be an integer"),
        ({"num_layers": 0}, "num_layers must be >= 1"),
        ({"num_proj": 0}, "num_proj must be >= 1"),
        ({"proj_clip": 1.0}, "proj_clip needs num_proj"),
        ({"cell_clip": 0.0}, "cell_clip must be above 0"),
        ({"activation": "gelu"}, "activation must be one with a fused kernel"),
        ({"recurrent_activation": "relu"}, "recurrent_activation must be one of"),
        ({"forget_bias": "one"}, "forget_bias must be a number"),
        ({"bidirectional": "yes"}, "bidirectional must be True or False"),
        ({"dtype": "float16"}, "dtype"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        LSTM(**{"input_size": 3, "num_units": 4, **arguments})


def test_set_weights_changes_all_or_nothing() -> None:
    model = LSTM(3, 4, seed=0)
    before = model(np.ones((1, 2, 3), np.float32))
    good = model.weights
    kernel = "layers.0.forward.kernel"
    for bad, message in (
        ({kernel: good[kernel]}, r"missing \['layers.0.forward.bias'\]"),
        ({**good, kernel: good[kernel][1:]}, r"expected shape \(7, 16\), got \(6, 16\)"),
        ({**good, kernel: good[kernel].astype(np.float64)}, "expected float32, got float64"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            model.set_weights(bad)
    assert np.array_equal(model(np.ones((1, 2, 3), np.float32)), before)


class TestStreams:
    def test_streamed_is_the_whole_sequence(self) -> None:
        model, x = model_of("stack"), inputs()
        y, state = model(x[:1], return_state=True)
        stream = lstmcore.Stream(model)
        got = [stream.push(x[0, :4]), *(stream.step(row)[None] for row in x[0, 4:])]
        assert np.array_equal(np.concatenate(got), y[0])
        for pair, other in zip(stream.state, state, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(pair, other, strict=True))

    def test_saved_and_banked(self) -> None:
        model, x = model_of("stack"), inputs()
        stream = lstmcore.Stream(model)
        stream.push(x[0, :4])
        again = lstmcore.Stream.from_bytes(model, stream.to_bytes())
        bank = lstmcore.StreamBank(model)
        ids = [bank.join(), bank.join()]
        assert np.array_equal(again.push(x[0, 4:]), stream.push(x[0, 4:]))
        assert np.array_equal(bank.step(x[:2, 0], ids), model(x[:2, :1])[:, 0])
        with pytest.raises(ValueError, match="other weights"):
            lstmcore.Stream.from_bytes(LSTM(I, 17, 3, forget_bias=0.7), stream.to_bytes())

    def test_backward_directions_wait_for_the_end(self) -> None:
        with pytest.raises(TypeError, match="layer 0 of lstm runs backwards"):
            lstmcore.Stream(model_of("bidirectional"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: LSTM(3, 4, device_dtype="float16"), "device_dtype: 'float16' is for a GPU"),
        (lambda m: LSTM(3, 4, device_dtype="float32"), "device_dtype: 'float32' is for a GPU"),
        (lambda m: LSTM(3, 4, device="cpu", math="tf32"), "math: 'tf32' is for a GPU"),
        (lambda m: m.to("cpu", dtype="float64"), "dtype: 'float64' is for a GPU"),
        (lambda m: m.to("cpu", math="tf32x3"), "math: 'tf32x3' is for a GPU"),
        (
            lambda m: lstmcore.load("none.pt", device_dtype="bfloat16"),
            "device_dtype: 'bfloat16' is",
        ),
        (lambda m: lstmcore.open_models("none.pt", math="tf32"), "math: 'tf32' is for a GPU"),
        (lambda m: m.to("cpu", dtype="int8"), "dtype: expected one of float32, "),
        (lambda m: m.to("auto", math="fast"), "math: expected one of ieee, "),
    ],
)
def test_what_only_a_gpu_has(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        call(LSTM(3, 4))
