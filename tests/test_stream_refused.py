"""What streams refuse: an error that names the argument, and nothing has changed."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import lstmcore
import stream_cases
from stream_cases import identical

F = np.float32


def zeros(*shape: int, dtype: Any = F) -> np.ndarray:
    return np.zeros(shape, dtype)


def read_only() -> np.ndarray:
    array = zeros(5)
    array.flags.writeable = False
    return array


INPUTS = [  # for a stream of I = P = 5; the same for a step and for a row of a chunk
    (
        zeros(4),
        ValueError,
        r"expected a float32 array of shape \((any, )?5,?\), got shape \(.*4,?\)",
    ),
    (zeros(6), ValueError, "got shape"),
    (zeros(0), ValueError, "got shape"),
    (zeros(1, 5), ValueError, r"got shape \(.*1, 5\)"),
    (np.zeros((), F), ValueError, "got shape"),
    (zeros(5, dtype=np.float64), TypeError, "expected a float32 array of shape.*got dtype float64"),
    (zeros(5, dtype=np.float16), TypeError, "got dtype float16"),
    (zeros(5, dtype=np.int32), TypeError, "got dtype int32"),
    (zeros(5, dtype=">f4"), TypeError, "got dtype >f4"),
    (np.array(["a"] * 5), TypeError, "got dtype <U1"),
    (np.full(5, None), TypeError, "got dtype object"),
]
NO_ARRAYS = [([0.0] * 5, "list"), (None, "NoneType"), ("abc", "str"), (3.5, "float")]


@pytest.fixture
def stream() -> lstmcore.Stream:
    case = stream_cases.make()
    assert (case.x.shape[2], case.cell.output_size) == (5, 5)
    return lstmcore.Stream(case.cell, initial_state=case.state)


def check_refused(stream: lstmcore.Stream, error: Any, match: str, call: Any) -> None:
    state, steps = stream.state, stream.steps
    with pytest.raises(error, match=match):
        call()
    assert identical(stream.state, state)
    assert stream.steps == steps


@pytest.mark.parametrize(("x", "error", "match"), INPUTS)
def test_inputs(stream: lstmcore.Stream, x: np.ndarray, error: Any, match: str) -> None:
    out = np.full(5, 3, F)
    check_refused(stream, error, f"^x: .*{match}", lambda: stream.step(x))
    check_refused(stream, error, f"^x: .*{match}", lambda: stream.step_into(x, out))
    chunk = np.broadcast_to(x, (2, *x.shape)).copy()
    check_refused(stream, error, f"^chunk: .*{match}", lambda: stream.push(chunk))
    assert (out == 3).all()


@pytest.mark.parametrize(("x", "name"), NO_ARRAYS)
def test_no_arrays(stream: lstmcore.Stream, x: Any, name: str) -> None:
    x0 = zeros(5)
    check_refused(stream, TypeError, f"^x: .*got {name}", lambda: stream.step(x))
    check_refused(stream, TypeError, f"^x: .*got {name}", lambda: stream.step_into(x, x0))
    check_refused(stream, TypeError, f"^out: .*got {name}", lambda: stream.step_into(x0, x))
    check_refused(stream, TypeError, f"^chunk: .*got {name}", lambda: stream.push(x))


@pytest.mark.parametrize(
    ("out", "error", "match"),
    [
        *INPUTS,
        (read_only(), ValueError, "expected a writable array"),
        (zeros(10)[::2], ValueError, "expected a C-contiguous array"),
        (zeros(5)[::-1], ValueError, "expected a C-contiguous array"),
        (np.zeros(21, np.uint8)[1:].view(F), ValueError, "expected an aligned array"),
    ],
)
def test_outputs(stream: lstmcore.Stream, out: Any, error: Any, match: str) -> None:
    before = out.copy()
    call = lambda: stream.step_into(np.ones(5, F), out)  # noqa: E731
    check_refused(stream, error, f"^out: .*{match}", call)
    assert out.tobytes() == before.tobytes()


def test_step_into_copies_no_input(stream: lstmcore.Stream) -> None:
    for x in (zeros(10)[::2], np.zeros(21, np.uint8)[1:].view(F)):
        out = zeros(5)
        check_refused(
            stream, ValueError, "^x: expected a[n]? ", lambda x=x, out=out: stream.step_into(x, out)
        )


def test_overlaps(stream: lstmcore.Stream) -> None:
    memory = np.ones(20, F)
    for first in range(1, 5):
        for x, out in (
            (memory[:5], memory[first : first + 5]),
            (memory[first : first + 5], memory[:5]),
            (memory[:5], memory[:5]),
        ):
            call = lambda x=x, out=out: stream.step_into(x, out)  # noqa: E731
            check_refused(stream, ValueError, "^out and x may not share memory", call)
    assert (memory == 1).all()
    stream.step_into(memory[:5], memory[5:10])  # neighbours do not
    assert (memory[:5] == 1).all()
    assert (memory[10:] == 1).all()


def test_batches() -> None:
    stream = lstmcore.Stream(stream_cases.make(rows=3).cell, 3)
    for shape in ((2, 5), (4, 5), (3, 4), (5,), (1, 3, 5)):
        call = lambda shape=shape: stream.step(zeros(*shape))  # noqa: E731
        check_refused(stream, ValueError, r"^x: .* shape \(3, 5\), got shape", call)
    for shape in ((6, 5), (6, 2, 5), (3, 6, 5), (6, 3, 4)):
        call = lambda shape=shape: stream.push(zeros(*shape))  # noqa: E731
        check_refused(stream, ValueError, r"^chunk: .* \(any, 3, 5\), got shape", call)


def test_numbers_and_names_of_arguments(stream: lstmcore.Stream) -> None:
    x, out = zeros(5), zeros(5)
    for call, match in (
        (lambda: stream.step(), "step.. is missing its argument 'x'"),
        (lambda: stream.step(x, out), "step.. takes 1 positional"),
        (lambda: stream.step(y=x), "unexpected keyword argument 'y'"),
        (lambda: stream.step_into(x), "is missing its argument 'out'"),
        (lambda: stream.step_into(x, x=out), "multiple values for argument 'x'"),
        (lambda: stream.step_into(out=x, y=out), "unexpected keyword argument 'y'"),
        (lambda: stream.push(chunk=x, x=x), "unexpected keyword argument 'x'"),
    ):
        check_refused(stream, TypeError, match, call)
    stream.step_into(out=out, x=x)
    assert out.any()


def test_states(stream: lstmcore.Stream) -> None:
    (c0, h0), (c1, h1) = stream.state
    for state, error, match in (
        (((c0, h0),), ValueError, "same nested structure"),
        ((c0, h0), ValueError, "same nested structure"),
        (((c0, h0), (c1,)), ValueError, "same nested structure"),
        (((c0, h0), (c1, h1[0])), ValueError, "state: .*shape .1, 5. as part 3, got shape .5,."),
        (((c0, h0), (c1, h0)), ValueError, "as part 3, got shape"),
        (((c0, h0[:0]), (c1, h1)), ValueError, "as part 1, got shape"),
        (((c0, h0), (c1, h1.astype("d"))), TypeError, "state: .*got dtype float64"),
        (((c0, h0), (c1, [0.0])), ValueError, "same nested structure"),
        (((c0, h0), (c1, None)), TypeError, "state must be a NumPy array"),
    ):
        check_refused(stream, error, match, lambda state=state: setattr(stream, "state", state))
        check_refused(stream, error, match, lambda state=state: stream.reset(state))
        with pytest.raises(error, match=match):
            lstmcore.Stream(stream, initial_state=state)


class OwnStep(lstmcore.BasicLSTMCell):
    def call(self, inputs, state):
        return super().call(inputs, state)


class OwnStack(lstmcore.MultiRNNCell):
    def call(self, inputs, state):
        return super().call(inputs, state)


class OwnCell(lstmcore.RNNCell):
    state_size = output_size = 3


REFUSED_CELLS = [
    (
        lambda: lstmcore.BasicLSTMCell(3, activation=np.sin),
        "activation sin is not one of the fused",
    ),
    (lambda: OwnStep(3), "OwnStep computes its step in Python"),
    (lambda: OwnStack([lstmcore.BasicLSTMCell(3)]), "OwnStack computes its step in Python"),
    (lambda: OwnCell(name="mine"), r"mine \(OwnCell\) cannot be streamed"),
    (
        lambda: lstmcore.DropoutWrapper(lstmcore.BasicLSTMCell(3)),
        "DropoutWrapper cannot be streamed: stream the cell in it",
    ),
    (lambda: lstmcore.ResidualWrapper(lstmcore.BasicLSTMCell(3)), "ResidualWrapper cannot be"),
    (lambda: [lstmcore.BasicLSTMCell(3)], "MultiRNNCell of them, or an LSTM, received list"),
    (lambda: None, "received NoneType"),
    (lambda: lstmcore.BasicLSTMCell, "received type"),
]


@pytest.mark.parametrize(("make", "reason"), REFUSED_CELLS)
def test_cells(make: Any, reason: str) -> None:
    cell = make()
    cells = [cell]
    if isinstance(cell, lstmcore.RNNCell):
        cells.append(lstmcore.MultiRNNCell([lstmcore.BasicLSTMCell(3), cell]))
    for refused in cells:
        for streams in (lstmcore.Stream, lstmcore.StreamBank):
            with pytest.raises(TypeError, match=f"^cell: .*{reason}"):
                streams(refused, input_size=3)
    assert not lstmcore.global_variables()


def test_constructor() -> None:
    cell = lstmcore.BasicLSTMCell(3, name="lstm")
    with pytest.raises(ValueError, match="cell: lstm is not built: call it once, or"):
        lstmcore.Stream(cell)
    with pytest.raises(ValueError, match="input_size must be >= 0"):
        lstmcore.Stream(cell, input_size=-1)
    with pytest.raises(ValueError, match="batch_size must be >= 0"):
        lstmcore.Stream(cell, -1, input_size=4)
    with pytest.raises(TypeError, match="batch_size must be an integer"):
        lstmcore.Stream(cell, 2.5, input_size=4)
    assert not lstmcore.global_variables()
    assert lstmcore.Stream(cell, input_size=4).input_size == 4
    with pytest.raises(ValueError, match="input_size: lstm was built for 4, received 5"):
        lstmcore.Stream(cell, input_size=5)
    other = lstmcore.BasicLSTMCell(3, dtype="float64", name="other")
    lstmcore.Stream(other, input_size=3)
    with pytest.raises(TypeError, match="must have one dtype, they have float32, float64"):
        lstmcore.Stream(lstmcore.MultiRNNCell([cell, other]))


def test_streams_are_not_pickled(stream: lstmcore.Stream) -> None:
    with pytest.raises(TypeError, match=r"not pickled: use to_bytes"):
        pickle.dumps(stream)
