"""Arguments that no cell can use: refused by name, before anything is made or changed."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

import lstmcore
from lstmcore import BasicLSTMCell, LSTMCell, LSTMStateTuple, MultiRNNCell

CHECKPOINT = Path(__file__).parent / "golden" / "checkpoint"
X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
S = np.linspace(-0.5, 0.5, 8, dtype=np.float32).reshape(2, 4)
MASKED = np.ma.array(S, mask=S > 0)


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("num_units", 2**30 + 1, ValueError),
        ("num_units", 2**70, ValueError),
        ("num_proj", 2**31, ValueError),
        ("forget_bias", 10**400, ValueError),
        ("cell_clip", 10**400, ValueError),
        ("name", 5, TypeError),
        ("name", [], TypeError),
        ("activation", [], TypeError),
        ("state_is_tuple", "x", TypeError),
        ("weights", 5, TypeError),
        ("weights", "ab", TypeError),
    ],
)
def test_constructor_refuses(argument, value, error):
    with pytest.raises(error, match=f"(?i){argument}"):
        LSTMCell(**{"num_units": 4, argument: value})


@pytest.mark.parametrize(
    "value",
    [
        [None] * 16,
        ["a"] * 16,
        [[1], [1, 2]],
        10**400,
        [10**400] * 16,
        np.full(16, 1e300),
        [1e39] * 16,
    ],
    ids=["None", "strings", "ragged", "large", "large list", "float64", "float list"],
)
def test_assign_refuses_by_name_and_changes_nothing(value):
    cell = BasicLSTMCell(4)
    cell.build(3)
    kernel, bias = (variable.numpy() for variable in cell.weights)
    with pytest.raises(ValueError, match="basic_lstm_cell/bias"):
        cell.weights[1].assign(value)
    with pytest.raises(ValueError, match="basic_lstm_cell"):
        cell.set_weights([kernel + 1, value])
    assert cell.weights[0].numpy() is kernel
    assert cell.weights[1].numpy() is bias


def test_infinities_and_nan_can_be_assigned():
    cell = BasicLSTMCell(1)
    cell.build(3)
    values = [np.inf, -np.inf, np.nan, 3e38]
    cell.weights[1].assign(np.array(values))
    np.testing.assert_array_equal(cell.weights[1].numpy(), np.array(values, np.float32))


def test_masked_arrays_are_refused():
    cell = BasicLSTMCell(4)
    cell(X, (S, S))
    for call in (
        lambda: cell(np.ma.array(X), (S, S)),
        lambda: cell(X, (MASKED, S)),
        lambda: cell(X, (S, MASKED)),
        lambda: lstmcore.dynamic_rnn(cell, np.ma.array(X[None]), dtype=np.float32),
        lambda: lstmcore.dynamic_rnn(
            cell, X[None], np.ma.array([1], mask=[True]), dtype=np.float32
        ),
        lambda: cell.weights[1].assign(np.ma.zeros(16)),
    ):
        with pytest.raises(TypeError, match=r"(inputs|state|sequence_length|bias).*masked"):
            call()


BAD_STATES = {
    "none": None,
    "one": (S,),
    "width": (S[:, :2], S),
    "rows": (S, S[:1]),
    "dict": {"c": S, "h": S},
    "integers": (S.astype(int), S),
}


@pytest.mark.parametrize("state", BAD_STATES.values(), ids=BAD_STATES)
@pytest.mark.parametrize("stacked", [False, True])
def test_a_wrong_first_state_makes_no_variables(state, stacked):
    def cell():
        inner = LSTMCell(4)
        return MultiRNNCell([LSTMCell(4), inner]) if stacked else inner

    given = (LSTMStateTuple(S, S), state) if stacked else state
    calls = [lambda: cell()(X, given)]
    if state is not None or stacked:
        calls.append(lambda: lstmcore.dynamic_rnn(cell(), X[:, None], initial_state=given))
    for call in calls:
        with lstmcore.Graph().as_default() as graph:
            with pytest.raises((ValueError, TypeError, AttributeError), match=r"state|unpack"):
                call()
            assert graph.global_variables() == []


def test_rejected_constructor_weights_are_refused_by_every_call():
    cell = BasicLSTMCell(4, weights=[np.zeros((3, 3), "f"), np.zeros(3, "f")])
    for _ in range(2):
        with pytest.raises(ValueError, match="weight shape"):
            cell(X, (S, S))


def test_constructor_weights_are_set_after_an_explicit_build():
    weights = [np.full((7, 16), 0.25), np.full(16, 0.5)]
    cell = BasicLSTMCell(4, weights=weights)
    cell.build(3)
    cell(X, (S, S))
    np.testing.assert_array_equal(cell.weights[0].numpy(), weights[0])


def test_state_file_of_empty_lines_is_read_in_linear_time(tmp_path):
    lines = b"\n" * 200_000
    (tmp_path / "checkpoint").write_bytes(lines)
    start = time.perf_counter()
    assert lstmcore.latest_checkpoint(tmp_path) is None
    assert time.perf_counter() - start < 2


def test_data_file_cut_after_opening(tmp_path):
    for file in CHECKPOINT.iterdir():
        shutil.copy(file, tmp_path)
    reader = lstmcore.load_checkpoint(tmp_path / "model")
    name = next(iter(reader.get_variable_to_shape_map()))
    values = np.array(reader.get_tensor(name))
    data = next(tmp_path.glob("model.data-*"))
    content = data.read_bytes()
    os.truncate(data, 1)
    with pytest.raises(lstmcore.CheckpointError, match="truncated"):
        reader.get_tensor(name)
    data.write_bytes(content)
    np.testing.assert_array_equal(reader.get_tensor(name), values)
