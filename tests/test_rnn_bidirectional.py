"""Both directions, and stacks of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tolerances
from lstmcore.cells.lstm_cells import LSTMCell
from lstmcore.errors import InvalidArgumentError
from lstmcore.rnn.dynamic import (
    bidirectional_dynamic_rnn,
    stack_bidirectional_dynamic_rnn,
)
from lstmcore.variables.graph import Graph, global_variables
from rnn_cases import F32, LIMITS, NOT_A_CELL, MyLSTM, X, draw, exact_both


@settings(deadline=None, max_examples=30)
@given(
    rows=st.integers(0, 4),
    steps=st.integers(0, 6),
    time_major=st.booleans(),
    own=st.booleans(),
    data=st.data(),
)
def test_bidirectional(rows, steps, time_major, own, data):
    lengths = data.draw(st.none() | st.lists(st.integers(0, steps), min_size=rows, max_size=rows))
    x = draw(rows, steps, 3)
    make = MyLSTM if own else LSTMCell
    fw, bw = make(5), make(4)
    with Graph().as_default():
        (y_fw, y_bw), (s_fw, s_bw) = bidirectional_dynamic_rnn(
            fw,
            bw,
            x.transpose(1, 0, 2) if time_major else x,
            lengths,
            dtype=F32,
            time_major=time_major,
        )
    if not fw.built:  # a cell of one's own is not called where there is no step
        assert y_fw.shape == ((0, rows, 5) if time_major else (rows, 0, 5))
        return
    limit, sign = LIMITS["float32"]["sequence"], -1 if own else 1
    exacts = exact_both(fw, bw, x, None if lengths is None else np.array(lengths, int))
    for y, state, wanted in zip((y_fw, y_bw), (s_fw, s_bw), exacts, strict=True):
        y = y.transpose(1, 0, 2) if time_major else y
        assert tolerances.error(sign * y, wanted.y) <= limit
        assert tolerances.error(state.c, wanted.c) <= limit
        assert tolerances.error(state.h, wanted.h) <= limit


@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("with_states", [False, True])
def test_stack_of_two_layers(time_major, with_states):
    x, lengths = draw(3, 5, 4), np.array([5, 2, 0])
    cells_fw, cells_bw = [LSTMCell(6), LSTMCell(2)], [LSTMCell(3), LSTMCell(2)]
    start = None
    if with_states:
        start = [cell.zero_state(3, F32) for cell in cells_fw]
    outputs, states_fw, states_bw = stack_bidirectional_dynamic_rnn(
        cells_fw,
        cells_bw,
        x.transpose(1, 0, 2) if time_major else x,
        initial_states_fw=start,
        dtype=F32,
        sequence_length=lengths,
        time_major=time_major,
    )
    layer = x
    for fw, bw, state_fw, state_bw in zip(cells_fw, cells_bw, states_fw, states_bw, strict=True):
        below = exact_both(fw, bw, layer, lengths)
        layer = np.concatenate([below[0].y, below[1].y], axis=2)
        assert tolerances.error(state_fw.c, below[0].c) <= LIMITS["float32"]["sequence"]
        assert tolerances.error(state_bw.h, below[1].h) <= LIMITS["float32"]["sequence"]
    actual = outputs.transpose(1, 0, 2) if time_major else outputs
    assert tolerances.error(actual, layer) <= LIMITS["float32"]["sequence"]


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"cell_fw": 5}, TypeError, NOT_A_CELL.format("cell_fw")),
        ({"cell_bw": 5}, TypeError, NOT_A_CELL.format("cell_bw")),
        ({"sequence_length": [5, 6]}, InvalidArgumentError, "seq_lens(1) > input.dims(1)"),
        ({"sequence_length": [-1, 5]}, InvalidArgumentError, "seq_lens(0) < 0"),
        (
            {"sequence_length": [2.0, 3.0]},
            InvalidArgumentError,
            "Value for attr 'Tlen' of double is not in the list of allowed values: int32, int64",
        ),
        (
            {"dtype": None, "initial_state_fw": (draw(2, 4),) * 2},
            ValueError,
            "If no initial_state is provided, argument `dtype` must be specified",
        ),
    ],
)
def test_bidirectional_refuses(changed, error, text):
    arguments = {"cell_fw": LSTMCell(4), "cell_bw": LSTMCell(4), "inputs": X, "dtype": F32}
    with pytest.raises(error) as raised:
        bidirectional_dynamic_rnn(**{**arguments, **changed})
    assert str(raised.value).startswith(text)
    assert global_variables() == []


def test_time_major_bound_names_the_other_axis():
    with pytest.raises(InvalidArgumentError, match=r"^seq_lens\(0\) > input.dims\(0\)"):
        bidirectional_dynamic_rnn(LSTMCell(4), LSTMCell(4), X, [3] * 5, dtype=F32, time_major=True)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (([], [1]), "Must specify at least one fw cell for BidirectionalRNN."),
        (([1], None), "Must specify at least one bw cell for BidirectionalRNN."),
        (((1,), [1]), "cells_fw must be a list of RNNCells (one per layer)."),
        (([1], (1,)), "cells_bw must be a list of RNNCells (one per layer)."),
        (([1], [1, 2]), "Forward and Backward cells must have the same depth."),
        (
            ([1], [1], X, [1, 2]),
            "initial_states_fw must be a list of state tensors (one per layer).",
        ),
        (
            ([1], [1], X, None, (1,)),
            "initial_states_bw must be a list of state tensors (one per layer).",
        ),
    ],
)
def test_stack_refuses(arguments, text):
    with pytest.raises(ValueError) as raised:
        stack_bidirectional_dynamic_rnn(*(*arguments, X)[: max(3, len(arguments))], dtype=F32)
    assert str(raised.value) == text
