"""static_rnn and static_bidirectional_rnn."""

from __future__ import annotations

import numpy as np
import pytest

from lstmcore.cells.lstm_cells import LSTMCell
from lstmcore.cells.rnn_cell import LSTMStateTuple
from lstmcore.errors import InvalidArgumentError
from lstmcore.rnn.dynamic import (
    bidirectional_dynamic_rnn,
    dynamic_rnn,
)
from lstmcore.rnn.static import static_bidirectional_rnn, static_rnn
from rnn_cases import F32, NOT_A_CELL, MyLSTM, X, draw


@pytest.mark.parametrize("make", [LSTMCell, MyLSTM])
@pytest.mark.parametrize("lengths", [None, [5, 0, 3]])
def test_static_rnn_is_dynamic_rnn_over_a_list(make, lengths):
    x = draw(3, 5, 4)
    cell = make(6)
    wanted, wanted_state = dynamic_rnn(cell, x, lengths, dtype=F32)
    outputs, state = static_rnn(cell, [x[:, t] for t in range(5)], None, F32, lengths)
    assert isinstance(outputs, list)
    np.testing.assert_array_equal(np.stack(outputs, 1), wanted)
    np.testing.assert_array_equal(state.c, wanted_state.c)
    assert type(state) is LSTMStateTuple


@pytest.mark.parametrize("make", [LSTMCell, MyLSTM])
@pytest.mark.parametrize("lengths", [None, [5, 0, 3]])
def test_static_bidirectional(make, lengths):
    x = draw(3, 5, 4)
    fw, bw = make(6), make(2)
    (y_fw, y_bw), (s_fw, s_bw) = bidirectional_dynamic_rnn(fw, bw, x, lengths, dtype=F32)
    outputs, state_fw, state_bw = static_bidirectional_rnn(
        fw, bw, list(x.transpose(1, 0, 2)), dtype=F32, sequence_length=lengths
    )
    np.testing.assert_array_equal(np.stack(outputs, 1), np.concatenate([y_fw, y_bw], 2))
    np.testing.assert_array_equal(state_fw.h, s_fw.h)
    np.testing.assert_array_equal(state_bw.c, s_bw.c)


def test_static_state_is_the_cells_own_container():
    start = [draw(2, 4), draw(2, 4, seed=1)]
    assert type(static_rnn(LSTMCell(4), [X[:, 0]], start)[1]) is LSTMStateTuple
    assert type(static_rnn(MyLSTM(4), [X[:, 0]], start, scope="b")[1]) is LSTMStateTuple


STEPS = [draw(2, 3), draw(2, 3, seed=1)]


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"cell": 5}, TypeError, NOT_A_CELL.format("cell")),
        ({"inputs": X}, TypeError, f"Argument `inputs` must be a sequence. Received: {X}"),
        ({"inputs": None}, TypeError, "Argument `inputs` must be a sequence. Received: None"),
        ({"inputs": []}, ValueError, "Argument `inputs` must not be empty."),
        ({"inputs": [1.0]}, ValueError, "Shape () must have rank at least 2"),
        (
            {"inputs": [X[0, 0]]},
            ValueError,
            'Input 0 of layer "lstm_cell_1" is incompatible with the layer: expected ndim=2, found '
            "ndim=1. Full shape received: (3,)",
        ),
        (
            {"inputs": [X]},
            ValueError,
            'Input 0 of layer "lstm_cell_1" is incompatible with the layer: expected ndim=2, found '
            "ndim=3. Full shape received: (2, 5, 3)",
        ),
        ({"inputs": [X[:, 0], draw(3, 3)]}, ValueError, "Dimensions 2 and 3 are not compatible"),
        (
            {"inputs": [X[:, 0], draw(2, 4)]},
            InvalidArgumentError,
            "Matrix size-incompatible: In[0]: [2,8], In[1]: [7,16]",
        ),
        (
            {"sequence_length": 2},
            ValueError,
            "Argument `sequence_length` must be a vector of length 2. Received sequence_length=2.",
        ),
        (
            {"sequence_length": [2, 1, 1]},
            InvalidArgumentError,
            "Number of batches of 'then' must match size of 'cond', but saw: 2 vs. 3",
        ),
        (
            {"dtype": None},
            ValueError,
            "If no initial_state is provided, argument `dtype` must be specified",
        ),
    ],
)
def test_static_rnn_refuses(changed, error, text):
    arguments = {"cell": LSTMCell(4), "inputs": STEPS, "dtype": F32, **changed}
    with pytest.raises(error) as raised:
        static_rnn(**arguments)
    assert str(raised.value).startswith(text)


def test_static_bidirectional_refuses_long_rows():
    with pytest.raises(InvalidArgumentError, match=r"^seq_lens\(0\) > input.dims\(0\)"):
        static_bidirectional_rnn(LSTMCell(2), LSTMCell(2), STEPS, None, None, F32, [3, 1])
