"""Constructors of the two cells: defaults, what is refused, dtype, config, repr."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from lstmcore.cells.lstm_cells import BasicLSTMCell, LSTMCell
from lstmcore.variables.initializers import Constant, RandomUniform
from lstmcore.variables.variable_scope import AUTO_REUSE


def test_all_arguments_may_be_positional_in_tensorflows_order():
    basic = BasicLSTMCell(4, 0.5, False, "relu", True, "b", "float64")
    assert basic.get_config() == {
        "name": "b",
        "trainable": True,
        "dtype": "float64",
        "num_units": 4,
        "forget_bias": 0.5,
        "state_is_tuple": False,
        "activation": "relu",
        "reuse": True,
    }
    full = LSTMCell(
        4, True, 0.1, "ones", 3, 0.2, 2, 5, 0.5, False, "sigmoid", AUTO_REUSE, "f", "float32"
    )
    assert list(full.get_config().items()) == [
        ("name", "f"),
        ("trainable", True),
        ("dtype", "float32"),
        ("num_units", 4),
        ("use_peepholes", True),
        ("cell_clip", 0.1),
        (
            "initializer",
            {
                "module": "keras.initializers",
                "class_name": "Ones",
                "config": {},
                "registered_name": None,
            },
        ),
        ("num_proj", 3),
        ("proj_clip", 0.2),
        ("num_unit_shards", 2),
        ("num_proj_shards", 5),
        ("forget_bias", 0.5),
        ("state_is_tuple", False),
        ("activation", "sigmoid"),
        ("reuse", AUTO_REUSE),
    ]


def test_defaults():
    config = LSTMCell(4).get_config()
    assert config.pop("name") == "lstm_cell_1"
    assert (config["forget_bias"], config["state_is_tuple"], config["activation"]) == (
        1.0,
        True,
        "tanh",
    )
    assert config["use_peepholes"] is False
    others = set(config) - {
        "trainable",
        "num_units",
        "forget_bias",
        "state_is_tuple",
        "activation",
        "use_peepholes",
    }
    assert {config[key] for key in others} == {None}


@pytest.mark.parametrize(
    "cell",
    [
        lambda: BasicLSTMCell(4, activation="gelu", trainable=False),
        lambda: LSTMCell(4, True, 0.5, RandomUniform(-1, 1, seed=3), 2, 0.25),
        lambda: LSTMCell(4, activation=np.arctan, initializer=Constant(0.5), name="x"),
        lambda: LSTMCell(4, initializer=np.ones, activation=lambda x: x * 2),
    ],
)
def test_from_config_round_trips(cell):
    first = cell()
    first.build(3)
    second = type(first).from_config(first.get_config())
    assert second.get_config() == first.get_config()
    assert not second.built


NUMBER = "must be a number"
REFUSED = [
    ({"num_units": -3}, ValueError, "num_units must be >= 0, received -3"),
    ({"num_units": 3.5}, TypeError, "num_units must be an integer, received 3.5"),
    ({"num_units": 3.0}, TypeError, "num_units must be an integer, received 3.0"),
    ({"num_units": None}, TypeError, "num_units must be an integer, received None"),
    ({"num_units": "a"}, TypeError, "num_units must be an integer, received 'a'"),
    ({"num_proj": 0}, ValueError, "num_proj must be >= 1, received 0"),
    ({"num_proj": -1}, ValueError, "num_proj must be >= 1"),
    ({"num_proj": 2.5}, TypeError, "num_proj must be an integer"),
    ({"num_unit_shards": 0}, ValueError, "num_unit_shards.*returned zero partitions"),
    ({"num_proj_shards": -1}, ValueError, "num_proj_shards.*returned zero partitions"),
    ({"cell_clip": "a"}, TypeError, f"cell_clip {NUMBER}"),
    ({"proj_clip": [1, 2]}, TypeError, f"proj_clip {NUMBER}"),
    ({"forget_bias": None}, TypeError, f"forget_bias {NUMBER}"),
    ({"dtype": "int32"}, ValueError, "floating point inputs, but received dtype: <dtype: 'int32'>"),
    ({"dtype": bool}, ValueError, "but received dtype: <dtype: 'bool'>"),
    ({"dtype": "float16"}, TypeError, "float16, which is not supported: use float32, float64"),
    ({"dtype": "bfloat16"}, TypeError, "bfloat16, which is not supported"),
    ({"dtype": "complex64"}, TypeError, "complex64, which is not supported"),
    ({"dtype": "floaty"}, TypeError, "Cannot convert the argument `type_value`: 'floaty' to a"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), REFUSED)
def test_refused_at_construction(arguments, error, message):
    with pytest.raises(error, match=message):
        LSTMCell(**{"num_units": 4, **arguments})


@pytest.mark.parametrize("num_units", [np.int64(3), np.array(3), True])
def test_anything_with_an_index_is_a_size(num_units):
    cell = LSTMCell(num_units, num_proj=np.int32(2))
    assert cell.state_size == (int(num_units), 2)


@pytest.mark.parametrize(
    ("given", "name"), [(float, "float32"), (np.float64, "float64"), ("f4", "float32")]
)
def test_dtype_argument(given, name):
    assert LSTMCell(4, dtype=given).dtype == name


def test_dtype_comes_from_the_first_input():
    cell = LSTMCell(4)
    assert cell.dtype is None
    cell(np.ones((1, 3), ">f8"), cell.zero_state(1, np.float32))
    assert cell.dtype == "float64"
    assert {variable.dtype for variable in cell.weights} == {np.dtype(np.float64)}
    built = LSTMCell(4)
    built.build((2, 3))
    assert built.dtype == "float32"


class Shape:
    def __init__(self, *sizes):
        self.sizes = sizes

    def as_list(self):
        return list(self.sizes)


@pytest.mark.parametrize("shape", [[3], (2, 3), (None, 3), (5, 2, 3), 3, np.int64(3), Shape(2, 3)])
def test_build_uses_the_last_dimension(shape):
    cell = LSTMCell(4, use_peepholes=True, num_proj=2)
    cell.build(shape)
    assert [(variable.op.name, variable.shape) for variable in cell.weights] == [
        ("lstm_cell/kernel", (5, 16)),
        ("lstm_cell/bias", (16,)),
        ("lstm_cell/w_f_diag", (4,)),
        ("lstm_cell/w_i_diag", (4,)),
        ("lstm_cell/w_o_diag", (4,)),
        ("lstm_cell/projection/kernel", (4, 2)),
    ]


@pytest.mark.parametrize(
    ("shape", "error", "message"),
    [
        ((2, None), ValueError, r"inputs.shape\[-1\] to be known, received shape: \(2, None\)"),
        (None, ValueError, "as_list"),
        ((2, 3.5), TypeError, "Dimension value must be integer"),
        ((2, -3), ValueError, "Dimension -3 must be >= 0"),
    ],
)
def test_build_refuses_unknown_depths(shape, error, message):
    cell = LSTMCell(4)
    with pytest.raises(error, match=message):
        cell.build(shape)
    assert not cell.built


def test_building_again_shares_or_clashes():
    cell = LSTMCell(4)
    cell.build((2, 3))
    kernel = cell.weights[0]
    cell.build((5, 3))
    assert cell.weights[0] is kernel
    assert len(cell.weights) == 2
    with pytest.raises(ValueError, match=r"specified shape \(9, 16\) and found shape \(7, 16\)"):
        cell.build((2, 5))


def test_shards_are_logged(caplog):
    with caplog.at_level(logging.WARNING, "lstmcore"):
        LSTMCell(4, num_proj_shards=2)
    assert "parameters are deprecated and will be removed in Jan 2017.  Use" in caplog.text


def test_repr_tells_what_the_cell_is():
    cell = LSTMCell(4, num_proj=2, cell_clip=3.0, name="r")
    assert repr(cell) == (
        "<LSTMCell 'r' num_units=4 num_proj=2 dtype=None activation=tanh forget_bias=1.0 "
        "cell_clip=3.0 not built>"
    )
    cell(np.ones((1, 3)), cell.zero_state(1, np.float64))
    native = cell._native()
    text = repr(cell)
    assert "input_size=3 num_units=4" in text
    assert f"isa={native.isa} weights={8 * (5 * 16 + 16 + 8)} bytes" in text
    assert f"packed={native.packed_bytes} bytes" in text
    slow = BasicLSTMCell(4, activation="gelu")
    slow.build(3)
    assert "activation=gelu" in repr(slow)
    assert "computed by NumPy" in repr(slow)
