"""Bad inputs and states of the cells: TensorFlow's exception types and words, nothing changed."""

from __future__ import annotations

import numpy as np
import pytest

from lstmcore.cells.lstm_cells import LSTMCell
from lstmcore.errors import InvalidArgumentError


def arguments_with(**changes):
    rng = np.random.default_rng(2)
    shapes = {"x": (2, 3), "c": (2, 4), "h": (2, 4)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return {**arrays, **changes}


F32 = np.float32
BAD_STEPS = {
    "rank": ({"x": np.ones(3, F32)}, ValueError, r'layer "q" is incompatible.*found ndim=1'),
    "depth": (
        {"x": np.ones((2, 5), F32)},
        InvalidArgumentError,
        r"size-incompatible: In\[0\]: \[2,9\], In\[1\]: \[7,16\]; expected inputs of depth 3",
    ),
    "h_width": (
        {"h": np.ones((2, 5), F32)},
        InvalidArgumentError,
        r"In\[0\]: \[2,8\], In\[1\]: \[7,16\].*h of state of width 4, received 3 and 5",
    ),
    "h_batch": (
        {"h": np.ones((3, 4), F32)},
        InvalidArgumentError,
        r"ConcatOp : Dimension 0 in both shapes must be equal: shape\[0\] = \[2,3\] vs. "
        r"shape\[1\] = \[3,4\]",
    ),
    "h_rank": (
        {"h": np.ones(4, F32)},
        InvalidArgumentError,
        r"Ranks of all input tensors should match: shape\[0\] = \[2,3\] vs. shape\[1\] = \[4\]",
    ),
    "c_shape": (
        {"c": np.ones((3, 4), F32)},
        InvalidArgumentError,
        r"Incompatible shapes: \[2,4\] vs. \[3,4\].*c of state",
    ),
    "int_x": ({"x": np.ones((2, 3), int)}, ValueError, "floating point inputs.*'int64'"),
    "int_c": ({"c": np.ones((2, 4), np.int32)}, ValueError, "'int32'.*c of state"),
    "bool_h": ({"h": np.ones((2, 4), bool)}, ValueError, "'bool'.*h of state"),
    "half": ({"x": np.ones((2, 3), np.float16)}, TypeError, "float16.*use float32, float64"),
    "complex": ({"c": np.ones((2, 4), complex)}, TypeError, "complex128.*use float32, float64"),
    "double": (
        {"x": np.ones((2, 3))},
        InvalidArgumentError,
        "expected to be a double tensor but is a float tensor.*built with float32",
    ),
    "none": ({"x": None}, TypeError, "Inputs to a layer should be tensors. Got 'None'"),
    "text": ({"x": "a"}, TypeError, "Inputs to a layer should be tensors. Got 'a'"),
    "scalar": ({"x": 3.0}, ValueError, r"found ndim=0. Full shape received: \(\)"),
    "list": ({"x": [[1.0, 2.0], [3.0, 4.0]]}, ValueError, r"expects 1 input\(s\).* received 4"),
    "list_h": ({"h": [[1.0], [2.0]]}, AttributeError, "'float' object has no attribute 'dtype'"),
}


@pytest.mark.parametrize("activation", ["tanh", np.arctan])
@pytest.mark.parametrize(("changes", "error", "message"), BAD_STEPS.values(), ids=BAD_STEPS)
def test_bad_arguments_of_a_built_cell(changes, error, message, activation):
    cell = LSTMCell(4, name="q", activation=activation)
    cell.build((None, 3))
    good = arguments_with()
    expected, _ = cell(good["x"], (good["c"], good["h"]))
    bad = arguments_with(**changes)
    with pytest.raises(error, match=message):
        cell(bad["x"], (bad["c"], bad["h"]))
    np.testing.assert_array_equal(cell(good["x"], (good["c"], good["h"]))[0], expected)


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (None, AttributeError, "'NoneType' object has no attribute 'dtype'"),
        ((np.ones((2, 4)),), ValueError, r"not enough values to unpack \(expected 2, got 1\)"),
        ((np.ones((2, 4)),) * 3, ValueError, r"too many values to unpack \(expected 2"),
    ],
)
def test_bad_state_structures(state, error, message):
    with pytest.raises(error, match=message):
        LSTMCell(4)(np.ones((2, 3)), state)


def test_failed_first_call_leaves_the_cell_unbuilt():
    cell = LSTMCell(4)
    with pytest.raises(ValueError, match="floating point"):
        cell(np.ones((2, 3), int), cell.zero_state(2, np.float32))
    assert (cell.built, cell.dtype, cell.weights) == (False, None, [])
    cell(np.ones((2, 3)), cell.zero_state(2, np.float64))
    assert cell.dtype == "float64"


def test_missing_state_and_unbuilt_call():
    x = np.ones((2, 3))
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'state'"):
        LSTMCell(4)(x)
    with pytest.raises(AttributeError, match="'LSTMCell' object has no attribute '_kernel'"):
        LSTMCell(4).call(x, (x, x))
