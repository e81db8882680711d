"""What dynamic_rnn refuses, in TensorFlow's words."""

from __future__ import annotations

import numpy as np
import pytest

from lstmcore.cells.lstm_cells import LSTMCell
from lstmcore.errors import InvalidArgumentError
from lstmcore.rnn.dynamic import (
    dynamic_rnn,
)
from rnn_cases import F32, NOT_A_CELL, Accumulator, X, draw

DYNAMIC_ERRORS = [
    ({"cell": 5}, TypeError, NOT_A_CELL.format("cell")),
    ({"inputs": X[0]}, ValueError, "Shape (3, 5) must have rank at least 3"),
    (
        {"inputs": X[0, 0]},
        ValueError,
        f"Input tensor should have rank >= 2. Received input={X[0, 0]} of rank 1",
    ),
    (
        {"inputs": X.tolist()},
        ValueError,
        f"Input tensor should have rank >= 2. Received input={X[0, 0, 0]} of rank 0",
    ),
    ({"inputs": None}, ValueError, "Attempt to convert a value (None) with an unsupported type"),
    ({"inputs": []}, ValueError, "inputs must not be empty"),
    (
        {"inputs": X[None]},
        ValueError,
        'Input 0 of layer "lstm_cell_1" is incompatible with the layer: expected ndim=2, found '
        "ndim=3. Full shape received: (1, 5, 3)",
    ),
    (
        {"inputs": [X, X]},
        ValueError,
        'Layer "lstm_cell_1" expects 1 input(s), but it received 2 input tensors.',
    ),
    (
        {"inputs": X.astype(np.int32)},
        ValueError,
        "RNN cell only supports floating point inputs, but received dtype: <dtype: 'int32'>",
    ),
    (
        {"inputs": X.astype(np.float16)},
        TypeError,
        "inputs has dtype float16, which is not supported",
    ),
    (
        {"dtype": None},
        ValueError,
        "If no initial_state is provided, argument `dtype` must be specified",
    ),
    (
        {"dtype": "float64"},
        InvalidArgumentError,
        "cannot compute ConcatV2 as input #1(zero-based) was expected to be a float tensor but is "
        "a double tensor",
    ),
    ({"dtype": "int32"}, ValueError, "RNN cell only supports floating point inputs"),
    ({"dtype": "floaty"}, TypeError, "Cannot convert the argument `type_value`: 'floaty' to a"),
    (
        {"sequence_length": 3},
        ValueError,
        "Argument sequence_length must be a vector of length batch_size. Received "
        "sequence_length=3 of shape: ()",
    ),
    (
        {"sequence_length": [[3, 2]]},
        ValueError,
        "Argument sequence_length must be a vector of length batch_size. Received "
        "sequence_length=[[3 2]] of shape: (1, 2)",
    ),
    (
        {"sequence_length": [3, 2, 1]},
        InvalidArgumentError,
        "Number of batches of 'then' must match size of 'cond', but saw: 2 vs. 3",
    ),
    ({"sequence_length": ["a", "b"]}, TypeError, "sequence_length must hold integers"),
    ({"sequence_length": [None, 2]}, TypeError, "sequence_length must hold integers"),
    ({"sequence_length": [np.nan, 2]}, ValueError, "sequence_length must not contain NaN"),
    ({"parallel_iterations": 1.5}, AssertionError, "parallel_iterations must be int"),
    ({"parallel_iterations": -1}, TypeError, "'parallel_iterations' must be a positive integer."),
    (
        {"initial_state": (draw(2, 4),)},
        ValueError,
        "not enough values to unpack (expected 2, got 1)",
    ),
    ({"initial_state": (draw(2, 4),) * 3}, ValueError, "too many values to unpack (expected 2"),
    (
        {"initial_state": (draw(3, 4),) * 2},
        InvalidArgumentError,
        "ConcatOp : Dimension 0 in both shapes must be equal: shape[0] = [2,3] vs. shape[1] = "
        "[3,4]",
    ),
    (
        {"initial_state": (draw(2, 4), draw(2, 5))},
        InvalidArgumentError,
        "Matrix size-incompatible: In[0]: [2,8], In[1]: [7,16]",
    ),
    (
        {"initial_state": (draw(2, 5), draw(2, 4))},
        InvalidArgumentError,
        "Incompatible shapes: [2,4] vs. [2,5]",
    ),
]


@pytest.mark.parametrize(("changed", "error", "text"), DYNAMIC_ERRORS)
def test_dynamic_rnn_refuses(changed, error, text):
    arguments = {"cell": LSTMCell(4), "inputs": X, "dtype": F32, **changed}
    with pytest.raises(error) as raised:
        dynamic_rnn(**arguments)
    assert str(raised.value).startswith(text)


def test_parallel_iterations_and_swap_memory_change_nothing():
    cell = LSTMCell(4)
    wanted, _ = dynamic_rnn(cell, X, dtype=F32)
    for value in (0, 1, 7, True):
        outputs, _ = dynamic_rnn(cell, X, dtype=F32, parallel_iterations=value, swap_memory=True)
        np.testing.assert_array_equal(outputs, wanted)


def test_inputs_that_disagree():
    pair = (draw(2, 5, 3), draw(2, 4, 3))
    with pytest.raises(ValueError, match=r"^Time steps is not the same for all the elements"):
        dynamic_rnn(Accumulator(3), pair, dtype=F32)
    with pytest.raises(ValueError, match=r"^Batch_size is not the same for all the elements"):
        dynamic_rnn(Accumulator(3), (pair[0], pair[0][:1]), dtype=F32)
