"""``Stream``: however a sequence arrives, the outputs are those of the whole, bit for bit."""

from __future__ import annotations

import copy
import gc
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lstmcore
import stream_cases
from lstmcore import _core, nest
from stream_cases import identical


def fed(stream: Any, x: np.ndarray, ways: list[tuple[str, int]]) -> np.ndarray:
    """Outputs for x [T, ...], by these calls in turn, and pushed from there on."""
    parts, t = [], 0
    for way, length in ways:
        chunk = x[t : t + length]
        if way == "push":
            parts.append(stream.push(chunk))
        else:
            for step in chunk:
                if way == "step":
                    parts.append(stream.step(step)[np.newaxis])
                else:
                    parts.append(np.full((1, *step.shape[:-1], stream.output_size), 7, x.dtype))
                    assert stream.step_into(step, parts[-1][0]) is None
        t += len(chunk)
    parts.append(stream.push(x[t:]))
    return np.concatenate(parts)


WAYS = st.lists(
    st.tuples(st.sampled_from(("step", "step_into", "push")), st.integers(0, 4)), max_size=6
)


@settings(deadline=None, max_examples=60)
@given(case=stream_cases.cases(steps=(0, 1, 12), rows=(0, 1, 2, 5, 17)), ways=WAYS)
def test_a_batch_streamed_is_the_whole_sequence(case: stream_cases.Case, ways: Any) -> None:
    outputs, last = case.whole()
    steps, rows = case.x.shape[:2]
    stream = lstmcore.Stream(case.cell, rows, case.state)
    assert identical(stream.state, case.state)
    assert identical(fed(stream, case.x, ways), outputs)
    assert identical(stream.state, last)
    assert stream.steps == steps


@settings(deadline=None, max_examples=40)
@given(case=stream_cases.cases(steps=(1, 12), rows=(1,)), ways=WAYS)
def test_a_single_stream_is_the_whole_sequence(case: stream_cases.Case, ways: Any) -> None:
    outputs, last = case.whole()
    stream = lstmcore.Stream(case.cell, initial_state=case.state)
    assert identical(fed(stream, case.x[:, 0], ways), outputs[:, 0].copy())
    assert identical(stream.state, last)


@pytest.mark.parametrize("rows", [None, 3])
def test_long_pushes(rows: int | None) -> None:
    """Longer than the blocks that a push of a stack is cut into."""
    cells = [lstmcore.LSTMCell(90, num_proj=60, use_peepholes=True), lstmcore.BasicLSTMCell(33)]
    case = stream_cases.finished(
        lstmcore.MultiRNNCell(cells), rows=rows or 1, steps=2500, inputs=4, dtype="float32"
    )
    outputs, last = case.whole()
    stream = lstmcore.Stream(case.cell, rows, case.state)
    x = case.x if rows else case.x[:, 0]
    out = np.concatenate([stream.push(x[:2203]), stream.push(x[2203:])])
    assert identical(out.reshape(outputs.shape), outputs)
    assert identical(stream.state, last)


def test_every_activation() -> None:
    for activation in _core.fused_activations():
        cell = lstmcore.LSTMCell(9, activation=activation, cell_clip=1.1)
        case = stream_cases.finished(cell, rows=2, steps=6, inputs=3, dtype="float64")
        stream = lstmcore.Stream(cell, 2, case.state)
        assert identical(fed(stream, case.x, [("step", 2), ("push", 2)]), case.whole()[0])


def test_the_fused_cell_and_the_cell_of_cudnn() -> None:
    x = np.random.default_rng(4).normal(size=(6, 2, 5)).astype(np.float32)
    fused = lstmcore.LSTMBlockFusedCell(8, use_peephole=True)
    outputs, last = fused(x, dtype=np.float32)
    stream = lstmcore.Stream(fused, 2)
    assert identical(fed(stream, x, [("step", 3)]), outputs)
    assert identical(stream.state, last)
    assert type(stream.state) is lstmcore.LSTMStateTuple
    cudnn = lstmcore.CudnnCompatibleLSTMCell(8)
    outputs, _ = lstmcore.dynamic_rnn(cudnn, x, dtype=np.float32, time_major=True)
    assert identical(lstmcore.Stream(cudnn, 2).push(x), outputs)


def test_concatenated_states() -> None:
    cells = [lstmcore.LSTMCell(n, num_proj=3, state_is_tuple=False) for n in (4, 6)]
    stack = lstmcore.MultiRNNCell(cells, state_is_tuple=False)
    case = stream_cases.finished(stack, rows=2, steps=5, inputs=3, dtype="float32")
    outputs, last = case.whole()
    stream = lstmcore.Stream(stack, 2, case.state)
    assert stream.state.shape == (2, 16)
    assert identical(stream.push(case.x), outputs)
    assert identical(stream.state, last)


def test_one_cell_at_two_levels() -> None:
    cell = lstmcore.BasicLSTMCell(5)
    case = stream_cases.finished(
        lstmcore.MultiRNNCell([cell, cell]), rows=1, steps=5, inputs=5, dtype="float32"
    )
    stream = lstmcore.Stream(case.cell, 1, case.state)
    assert identical(stream.push(case.x), case.whole()[0])


def test_input_size_builds_the_cell_as_a_first_call_does() -> None:
    with lstmcore.variable_scope("model"):
        stack = lstmcore.MultiRNNCell([lstmcore.LSTMCell(4, num_proj=2), lstmcore.LSTMCell(3)])
        stream = lstmcore.Stream(stack, 2, input_size=6)
    assert [v.name for v in stack.weights] == [
        "model/multi_rnn_cell/cell_0/lstm_cell/kernel:0",
        "model/multi_rnn_cell/cell_0/lstm_cell/bias:0",
        "model/multi_rnn_cell/cell_0/lstm_cell/projection/kernel:0",
        "model/multi_rnn_cell/cell_1/lstm_cell/kernel:0",
        "model/multi_rnn_cell/cell_1/lstm_cell/bias:0",
    ]
    assert (stream.input_size, stream.output_size, stream.dtype) == (6, 3, "float32")
    double = lstmcore.Stream(lstmcore.BasicLSTMCell(3, dtype=np.float64), input_size=2)
    assert double.step(np.ones(2)).dtype == np.float64
    assert lstmcore.Stream(lstmcore.LSTMBlockFusedCell(3), input_size=2).step(np.ones(2, "f")).any()


def test_forks_go_on_by_themselves() -> None:
    case = stream_cases.make(rows=1)
    x = case.x[:, 0]
    outputs = case.whole()[0][:, 0].copy()
    stream = lstmcore.Stream(case.cell, initial_state=case.state)
    stream.push(x[:3])
    for twin in (stream.fork(), copy.copy(stream), copy.deepcopy(stream)):
        assert type(twin) is lstmcore.Stream
        assert twin.steps == 3
        assert identical(twin.push(x[3:]), outputs[3:])
        assert twin.steps == 9
    assert stream.steps == 3
    assert identical(stream.push(x[3:]), outputs[3:])


def test_state_and_reset() -> None:
    case = stream_cases.make(rows=3)
    stream = lstmcore.Stream(case.cell, 3)
    zeros = case.cell.zero_state(3, np.float32)
    assert identical(stream.state, zeros)
    stream.state = case.state
    assert stream.steps == 0
    state = stream.state
    nest.flatten(state)[0][:] = 0  # a copy
    assert identical(stream.state, case.state)
    outputs = stream.push(case.x)
    stream.reset(case.state)
    assert stream.steps == 0
    assert identical(stream.push(case.x), outputs)
    stream.reset()
    assert identical(stream.state, zeros)
    output, after = case.cell(case.x[0], zeros)
    assert identical(stream.step(case.x[0]), output)
    assert identical(stream.state, after)


def test_a_stream_keeps_its_weights() -> None:
    case = stream_cases.make()
    x = case.x[:, 0]
    stream = lstmcore.Stream(case.cell)
    expected = stream.fork().push(x)
    case.cell.weights[0].assign(np.zeros(case.cell.weights[0].shape))
    assert identical(stream.push(x), expected)
    assert identical(lstmcore.Stream(stream).push(x), expected)
    assert not identical(lstmcore.Stream(case.cell).push(x), expected)


def test_any_layout_can_be_stepped_and_pushed() -> None:
    case = stream_cases.make(rows=4)
    expected = lstmcore.Stream(case.cell, 4, case.state).push(case.x)
    stream = lstmcore.Stream(case.cell, 4, case.state)
    assert identical(stream.push(np.asfortranarray(case.x)), expected)
    stream.reset(case.state)
    assert identical(stream.push(case.x.swapaxes(0, 1).copy().swapaxes(0, 1)), expected)
    stream.reset(case.state)
    unaligned = np.zeros(case.x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(case.x.shape)
    unaligned[:] = case.x
    assert identical(stream.push(unaligned), expected)
    stream.reset(case.state)
    assert identical(np.stack([stream.step(x=np.asfortranarray(x)) for x in case.x]), expected)


def test_step_into_allocates_nothing() -> None:
    case = stream_cases.make()
    stream = lstmcore.Stream(case.cell)
    step_into, x, out = stream.step_into, case.x[0, 0].copy(), np.zeros(5, np.float32)
    repeat = [None] * 1000
    step_into(x, out)
    gc.disable()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in repeat:
            step_into(x, out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    # the count of steps, an attribute, is no Python object: nothing at all
    assert peak - before < 200, peak - before
    assert stream.steps == 1001


def test_streams_leave_no_references() -> None:
    case = stream_cases.make()
    lstm = lstmcore.Stream(case.cell)._model.layers[0]
    counts = []
    for _ in range(3):
        stream = lstmcore.Stream(case.cell)
        stream.fork().step(case.x[0, 0])
        del stream
        gc.collect()
        counts.append((sys.getrefcount(lstmcore.Stream), sys.getrefcount(lstm)))
    assert counts[0] == counts[2]


def test_attributes_and_text() -> None:
    cell = stream_cases.make().cell
    stream = lstmcore.Stream(cell, 4)
    assert (stream.batch_size, stream.input_size, stream.output_size) == (4, 5, 5)
    assert repr(stream) == (
        f"<Stream of '{cell.name}' input_size=5 output_size=5 batch_size=4 dtype=float32 steps=0>"
    )
    assert stream.step.__doc__.startswith("One time step")
    assert "Stream" in dir(lstmcore)
