"""dynamic_rnn over this package's cells: results, lengths, dtypes, names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
import tolerances
from lstmcore import _core
from lstmcore.cells.lstm_cells import BasicLSTMCell, LSTMCell
from lstmcore.cells.multi_rnn_cell import MultiRNNCell
from lstmcore.cells.rnn_cell import LSTMStateTuple
from lstmcore.rnn.dynamic import (
    bidirectional_dynamic_rnn,
    dynamic_rnn,
    stack_bidirectional_dynamic_rnn,
)
from lstmcore.rnn.static import static_bidirectional_rnn, static_rnn
from lstmcore.variables.graph import Graph, global_variables
from lstmcore.variables.variable_scope import variable_scope
from rnn_cases import F32, LIMITS, MyLSTM, X, draw, exact


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(0, 5),
    steps=st.integers(0, 7),
    inputs=st.sampled_from([1, 3, 8]),
    units=st.sampled_from([1, 5, 8, 17]),
    proj=st.sampled_from([None, 1, 6]),
    peepholes=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    time_major=st.booleans(),
    with_state=st.booleans(),
    data=st.data(),
)
def test_dynamic_rnn(
    rows, steps, inputs, units, proj, peepholes, dtype, time_major, with_state, data
):
    lengths = data.draw(
        st.none() | st.lists(st.integers(-2, steps + 2), min_size=rows, max_size=rows)
    )
    options = {"forget_bias": 0.4, "cell_clip": 0.8, "proj_clip": 0.3}
    cell = LSTMCell(
        units,
        peepholes,
        num_proj=proj,
        initializer="orthogonal" if not peepholes else None,
        **options,
    )
    x = draw(rows, steps, inputs, dtype=dtype)
    width = proj or units
    start = None
    if with_state:
        start = LSTMStateTuple(
            draw(rows, units, seed=1, dtype=dtype), draw(rows, width, seed=2, dtype=dtype)
        )
    with Graph().as_default():
        outputs, state = dynamic_rnn(
            cell,
            np.ascontiguousarray(x.transpose(1, 0, 2)) if time_major else x,
            lengths,
            start,
            dtype,
            time_major=time_major,
        )
    wanted = reference.forward(
        exact(cell, **options),
        x,
        *(start or (None, None)),
        lengths=None if lengths is None else np.clip(np.array(lengths, int), 0, steps),
    )
    limit = LIMITS[dtype]["sequence"]
    assert outputs.dtype == state.c.dtype == dtype
    y = wanted.y.transpose(1, 0, 2) if time_major else wanted.y
    assert tolerances.error(outputs, y) <= limit
    assert tolerances.error(state.c, wanted.c) <= limit
    assert tolerances.error(state.h, wanted.h) <= limit


def test_one_native_call_for_the_whole_loop(monkeypatch):
    calls = []
    native = _core.Lstm

    class Counting:
        def __init__(self, *args, **kwargs):
            self._lstm = native(*args, **kwargs)
            self.cell_step = self._lstm.cell_step

        def forward(self, x, *args, **kwargs):
            calls.append((x.shape, kwargs))
            return self._lstm.forward(x, *args, **kwargs)

    monkeypatch.setattr(_core, "Lstm", Counting)
    x = draw(2, 9, 3)
    dynamic_rnn(LSTMCell(4), x, dtype=F32)
    bidirectional_dynamic_rnn(LSTMCell(4), LSTMCell(4), x, [3, 9], dtype=F32)
    static_rnn(LSTMCell(4), list(x.transpose(1, 0, 2)), dtype=F32, scope="static")
    assert [(shape, kwargs["reverse"]) for shape, kwargs in calls] == [
        ((2, 9, 3), False),
        ((2, 9, 3), False),
        ((2, 9, 3), True),
        ((9, 2, 3), False),
    ]


@pytest.mark.parametrize("make", [lambda: LSTMCell(4), lambda: MyLSTM(4)])
def test_no_steps(make):
    start = (draw(2, 4), draw(2, 4, seed=1))
    outputs, state = dynamic_rnn(make(), np.zeros((2, 0, 3), F32), initial_state=start)
    assert outputs.shape == (2, 0, 4)
    np.testing.assert_array_equal(state[0], start[0])
    assert not np.shares_memory(state[0], start[0])


def test_final_state_keeps_the_container():
    x, c, h = draw(2, 3, 4), draw(2, 5), draw(2, 5, seed=1)
    for cell in (LSTMCell(5), MyLSTM(5)):
        with Graph().as_default():
            for container in (list, tuple):
                state = dynamic_rnn(cell, x, initial_state=container((c, h)))[1]
                assert type(state) is container
            state = dynamic_rnn(cell, x, initial_state=LSTMStateTuple(c, h))[1]
            assert type(state) is LSTMStateTuple
            assert type(dynamic_rnn(cell, x, dtype=F32)[1]) is LSTMStateTuple


@pytest.mark.parametrize(
    "lengths",
    [
        np.array([3, 1], np.int8),
        [3.9, 1.2],
        np.array([3, 1], np.uint64),
        (3, True),
    ],
)
def test_kinds_of_lengths(lengths):
    cell, x = LSTMCell(5), draw(2, 4, 3)
    wanted, _ = dynamic_rnn(cell, x, [3, 1], dtype=F32)
    np.testing.assert_array_equal(dynamic_rnn(cell, x, lengths, dtype=F32)[0], wanted)


def test_lengths_outside_the_sequence_act_as_its_ends():
    cell, x = LSTMCell(5), draw(3, 4, 3)
    wanted, _ = dynamic_rnn(cell, x, [4, 0, 4], dtype=F32)
    for lengths in ([9, -2, 4], [2**40, -(2**40), 4], [np.inf, -np.inf, 4.5]):
        np.testing.assert_array_equal(dynamic_rnn(cell, x, lengths, dtype=F32)[0], wanted)


def test_strided_read_only_and_swapped_inputs():
    cell = LSTMCell(5)
    x = draw(3, 8, 4)
    wanted, _ = dynamic_rnn(cell, np.ascontiguousarray(x[:, ::2]), dtype=F32)
    read_only = np.ascontiguousarray(x[:, ::2])
    read_only.flags.writeable = False
    swapped = read_only.astype(read_only.dtype.newbyteorder())
    for inputs in (x[:, ::2], read_only, swapped):
        np.testing.assert_array_equal(dynamic_rnn(cell, inputs, dtype=F32)[0], wanted)


def test_given_states_take_the_dtype_of_the_inputs():
    cell, x = LSTMCell(5), draw(2, 3, 4)
    start = (draw(2, 5), draw(2, 5, seed=1))
    wanted, _ = dynamic_rnn(cell, x, initial_state=start)
    outputs, state = dynamic_rnn(cell, x, initial_state=tuple(s.astype(float) for s in start))
    assert outputs.dtype == state[0].dtype == F32
    np.testing.assert_array_equal(outputs, wanted)


def test_two_fresh_cells_need_two_scopes():
    dynamic_rnn(LSTMCell(4), X, dtype=F32)
    with pytest.raises(ValueError, match=r"^Variable rnn/lstm_cell/kernel already exists"):
        dynamic_rnn(LSTMCell(4), X, dtype=F32)
    dynamic_rnn(LSTMCell(4), X, dtype=F32, scope="second")
    with variable_scope("rnn", reuse=True) as scope:
        pass
    shared = LSTMCell(4)
    outputs, _ = dynamic_rnn(shared, X, dtype=F32, scope=scope)
    assert [v.name for v in shared.variables] == ["rnn/lstm_cell/kernel:0", "rnn/lstm_cell/bias:0"]
    assert len(global_variables()) == 4
    assert outputs.shape == (2, 5, 4)


def test_names():
    cell = BasicLSTMCell(3)
    bidirectional_dynamic_rnn(cell, cell, X, dtype=F32)
    stack_bidirectional_dynamic_rnn(
        [LSTMCell(2)], [MultiRNNCell([LSTMCell(2, name="a")])], X, dtype=F32
    )
    static_bidirectional_rnn(LSTMCell(2), LSTMCell(2), [X[:, 0]], dtype=F32, scope="s")
    assert [v.name.removesuffix("/kernel:0") for v in global_variables()[::2]] == [
        "bidirectional_rnn/fw/basic_lstm_cell",
        "stack_bidirectional_rnn/cell_0/bidirectional_rnn/fw/lstm_cell",
        "stack_bidirectional_rnn/cell_0/bidirectional_rnn/bw/multi_rnn_cell/cell_0/a",
        "s/fw/lstm_cell",
        "s/bw/lstm_cell",
    ]
