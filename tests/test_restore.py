"""Restoring cells by scope: what fits is set exactly, what does not is refused untouched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lstmcore.cells.block_cells import LSTMBlockCell, LSTMBlockFusedCell
from lstmcore.cells.lstm_cells import BasicLSTMCell, LSTMCell
from lstmcore.cells.multi_rnn_cell import MultiRNNCell
from lstmcore.cells.wrappers import ResidualWrapper
from lstmcore.checkpoint import restore
from lstmcore.errors import CheckpointError
from lstmcore.rnn.dynamic import dynamic_rnn
from lstmcore.variables.graph import Graph
from lstmcore.variables.variable_scope import variable_scope
from make_checkpoints import golden_values
from restore_cases import DIAGONALS, assert_is, cell_tensors, save, weights_of

GOLDEN = Path(__file__).parent / "golden" / "checkpoint"


@pytest.fixture(autouse=True)
def fresh_graph():
    with Graph().as_default():
        yield


@pytest.fixture
def saved(tmp_path):
    return lambda *groups, **more: save(tmp_path, *groups, more)


# What TensorFlow wrote


def test_peephole_and_projection_cell_of_tensorflow():
    cell = LSTMCell(5, use_peepholes=True, num_proj=2)
    sources = restore(GOLDEN / "model", cell, "decoder", forget_bias=1.0)
    scope = "decoder/rnn/lstm_cell"
    assert sorted(sources.values()) == sorted(
        f"{scope}/{n}" for n in ("kernel", "bias", "projection/kernel", *DIAGONALS)
    )
    assert cell.built
    for variable in cell.weights:
        name = sources[variable.name]
        assert name.endswith(variable.op.name.partition("/")[2])
        assert_is(variable, golden_values(name, variable.shape))


def test_stack_of_basic_cells_of_tensorflow():
    cell = MultiRNNCell([BasicLSTMCell(5), BasicLSTMCell(4)])
    restore(GOLDEN / "model", cell, "encoder", forget_bias=1.0)
    for k, shape in enumerate(((7, 20), (9, 16))):
        name = f"encoder/rnn/multi_rnn_cell/cell_{k}/basic_lstm_cell/kernel"
        assert_is(cell.weights[2 * k], golden_values(name, shape))


def test_bidirectional_pair_of_tensorflow():
    forward, backward = LSTMCell(3), LSTMCell(3)
    restore(GOLDEN / "model", (forward, backward), "both", forget_bias=1)
    assert_is(forward.weights[1], golden_values("both/fw/lstm_cell/bias", (12,)))
    assert_is(backward.weights[0], golden_values("both/bw/lstm_cell/kernel", (6, 12)))


@pytest.mark.parametrize("scope", ["cell", ""])
def test_object_based_checkpoint_of_tensorflow(scope):
    cell = MultiRNNCell([LSTMCell(5, num_proj=2), BasicLSTMCell(4)])
    sources = restore(GOLDEN / "objects", cell, scope, forget_bias=1.0)
    assert "cell/cell-0/projection.Skernel/.ATTRIBUTES/VARIABLE_VALUE" in sources.values()
    name = "multi_rnn_cell/cell_0/lstm_cell/projection/kernel"
    assert_is(cell.weights[2], golden_values(name, (5, 2)))
    assert_is(
        cell.weights[3], golden_values("multi_rnn_cell/cell_1/basic_lstm_cell/kernel", (6, 16))
    )


def test_scope_may_reach_down_to_the_cell():
    for scope in ("both/fw/lstm_cell", "both/fw", "/both/fw/"):
        cell = LSTMCell(3)
        restore(GOLDEN / "model", cell, scope, forget_bias=1.0)
        assert_is(cell.weights[1], golden_values("both/fw/lstm_cell/bias", (12,)))


# Names


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ("root", "root/basic_lstm_cell"),
        ("root", "root/rnn/lstm_cell_2"),
        ("", "lstm_cell"),
        ("rnn", "rnn/my_name"),
        ("rnn/a/b", "rnn/a/b"),
    ],
)
def test_single_cell_names(saved, scope, path):
    tensors = cell_tensors(path)
    cell = BasicLSTMCell(5)
    restore(saved(tensors), cell, scope, forget_bias=1.0)
    assert_is(cell.weights[0], tensors[f"{path}/kernel"])


def test_old_names(saved):
    tensors = cell_tensors("rnn/lstm_cell", num_proj=2)
    old = {k.replace("kernel", "weights").replace("bias", "biases"): v for k, v in tensors.items()}
    cell = LSTMCell(5, num_proj=2)
    restore(saved(old), cell, "rnn", forget_bias=1.0)
    assert [v.op.name for v in cell.weights][-1].endswith("projection/kernel")
    assert_is(cell.weights[2], tensors["rnn/lstm_cell/projection/kernel"])


def test_stacked_bidirectional_lists(saved):
    groups = [
        cell_tensors(f"net/cell_{k}/bidirectional_rnn/{d}/lstm_cell", inputs, seed=seed)
        for seed, (k, d, inputs) in enumerate(
            [(0, "fw", 3), (0, "bw", 3), (1, "fw", 10), (1, "bw", 10)]
        )
    ]
    cells = [LSTMCell(5), LSTMCell(5)], [LSTMCell(5), LSTMCell(5)]
    restore(saved(*groups), cells, "net", forget_bias=1.0)
    for cell, group in zip(
        (cells[0][0], cells[1][0], cells[0][1], cells[1][1]), groups, strict=True
    ):
        assert_is(cell.weights[0], next(iter(group.values())))


def test_pair_of_stacks(saved):
    groups = {
        (d, k): cell_tensors(f"net/{d}/multi_rnn_cell/cell_{k}/lstm_cell", 3 + 2 * k, seed=k + 7)
        for d in ("fw", "bw")
        for k in (0, 1)
    }
    pair = tuple(MultiRNNCell([LSTMCell(5), LSTMCell(5)]) for _ in range(2))
    restore(saved(*groups.values()), pair, "net", forget_bias=1.0)
    assert_is(pair[1].weights[2], groups["bw", 1]["net/bw/multi_rnn_cell/cell_1/lstm_cell/kernel"])


def test_nested_stacks_and_wrappers(saved):
    groups = [
        cell_tensors("multi_rnn_cell/cell_0/lstm_cell", 5),
        cell_tensors("multi_rnn_cell/cell_1/multi_rnn_cell/cell_0/lstm_cell", 5, seed=2),
    ]
    inner = LSTMCell(5)
    cell = MultiRNNCell([ResidualWrapper(LSTMCell(5)), MultiRNNCell([inner])])
    restore(saved(*groups), cell, forget_bias=1.0)
    assert_is(inner.weights[0], next(iter(groups[1].values())))


def test_cell_named_like_an_index(saved):
    tensors = cell_tensors("rnn/cell_0")
    cell = LSTMCell(5)
    restore(saved(tensors), cell, "rnn", forget_bias=1.0)
    assert_is(cell.weights[0], tensors["rnn/cell_0/kernel"])


def test_one_cell_in_both_directions_is_stored_once(saved):
    tensors = cell_tensors("bidirectional_rnn/fw/lstm_cell")
    cell = LSTMCell(5)
    restore(saved(tensors), (cell, cell), forget_bias=1.0)
    assert_is(cell.weights[0], tensors["bidirectional_rnn/fw/lstm_cell/kernel"])


def test_slots_and_counters_are_passed_over(saved):
    tensors = cell_tensors("rnn/lstm_cell")
    extra = {
        f"{name}/{slot}": value + 9
        for name, value in tensors.items()
        for slot in ("Adam", "Adam_1", "Momentum", "ExponentialMovingAverage", "my_optimizer")
    }
    extra |= {f"train/{name}/Adam": value for name, value in tensors.items()}
    extra |= {
        "global_step": np.int64(3),
        "beta1_power": np.float32(0.9),
        "rnn/global_step": np.int64(1),
    }
    cell = BasicLSTMCell(5)
    restore(saved(tensors, extra), cell, forget_bias=1.0)
    assert_is(cell.weights[1], tensors["rnn/lstm_cell/bias"])


def test_moving_average_on_request(saved):
    tensors = cell_tensors("rnn/lstm_cell")
    averages = {f"{n}/ExponentialMovingAverage": v - 2 for n, v in tensors.items()}
    reader = saved(tensors, averages, **{"rnn/lstm_cell/kernel/Adam": np.float32([1])})
    cell = LSTMCell(5)
    restore(reader, cell, "rnn", forget_bias=1.0, moving_average=True)
    assert_is(cell.weights[0], tensors["rnn/lstm_cell/kernel"] - 2)
    with pytest.raises(CheckpointError, match="no moving averages"):
        restore(GOLDEN / "model", LSTMCell(3), "both", forget_bias=1.0, moving_average=True)


def test_ignore_leaves_tensors_out(saved):
    tensors = cell_tensors("net/lstm_cell")
    reader = saved(tensors, **{"net/dense/kernel": np.float32([[1]]), "net/x": np.float32([2])})
    with pytest.raises(
        CheckpointError, match=r"not used \(1\): net/x\.|more than one single LSTM cell"
    ):
        restore(reader, LSTMCell(5), "net", forget_bias=1.0)
    restore(reader, LSTMCell(5), "net", forget_bias=1.0, ignore=["net/dense", "net/x"])


# Classes and dtypes


@pytest.mark.parametrize(
    "make",
    [
        lambda: BasicLSTMCell(5),
        lambda: LSTMCell(5),
        lambda: LSTMBlockCell(5),
        lambda: LSTMBlockFusedCell(5),
    ],
)
def test_every_class(saved, make):
    tensors = cell_tensors("rnn/lstm_cell")
    cell = make()
    restore(saved(tensors), cell, "rnn", forget_bias=1.0)
    assert_is(cell.weights[0], tensors["rnn/lstm_cell/kernel"])
    assert_is(cell.weights[1], tensors["rnn/lstm_cell/bias"])


@pytest.mark.parametrize("make", [LSTMCell, LSTMBlockCell])
def test_peepholes_go_to_their_own_gate(saved, make):
    """The two classes list their peephole variables in different orders."""
    tensors = cell_tensors("lstm_cell", diagonals=DIAGONALS)
    option = "use_peepholes" if make is LSTMCell else "use_peephole"
    cell = make(5, **{option: True})
    restore(saved(tensors), cell, forget_bias=1.0)
    for name in DIAGONALS:
        assert_is(weights_of(cell)[name], tensors[f"lstm_cell/{name}"])


def test_built_cell_is_repacked(saved):
    tensors = cell_tensors("rnn/lstm_cell")
    x = np.random.default_rng(5).normal(size=(2, 4, 3)).astype(np.float32)
    cell, other = LSTMCell(5), LSTMCell(5)
    with variable_scope("first"):
        before, _ = dynamic_rnn(cell, x, dtype=np.float32)
    restore(saved(tensors), cell, "rnn", forget_bias=1.0)
    restore(saved(tensors), other, "rnn", forget_bias=1.0)
    with variable_scope("second"):
        after, _ = dynamic_rnn(cell, x, dtype=np.float32)
        expected, _ = dynamic_rnn(other, x, dtype=np.float32)
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(after, expected)


def test_cell_whose_kernel_is_stored_in_parts(saved):
    tensors = cell_tensors("rnn/lstm_cell", num_proj=2)
    cell = LSTMCell(5, num_proj=2, num_unit_shards=3, num_proj_shards=2)
    restore(saved(tensors), cell, "rnn", forget_bias=1.0)
    x = np.ones((2, 3), np.float32)
    whole = LSTMCell(5, num_proj=2)
    restore(saved(tensors), whole, "rnn", forget_bias=1.0)
    state = cell.zero_state(2, np.float32)
    np.testing.assert_array_equal(cell(x, state)[0], whole(x, state)[0])


@pytest.mark.parametrize(
    ("stored", "own", "expected"),
    [
        ("float32", None, "float32"),
        ("float64", None, "float64"),
        ("float16", None, "float32"),
        ("float16", "float64", "float64"),
        ("float32", "float64", "float64"),
    ],
)
def test_dtypes_are_widened_only(saved, stored, own, expected):
    tensors = cell_tensors("lstm_cell", dtype=stored)
    cell = LSTMCell(5, dtype=own)
    restore(saved(tensors), cell, forget_bias=1.0)
    assert {v.dtype.name for v in cell.weights} == {expected}
    assert_is(cell.weights[0], tensors["lstm_cell/kernel"].astype(expected))


def test_narrowing_is_refused(saved):
    reader = saved(cell_tensors("lstm_cell", dtype=np.float64))
    cell = LSTMCell(5, dtype="float32")
    with pytest.raises(CheckpointError, match=r"stored as float64.*dtype='float64'"):
        restore(reader, cell, forget_bias=1.0)
    assert not cell.built


def test_integer_weights_are_refused(saved):
    reader = saved(cell_tensors("lstm_cell", dtype=np.int32))
    with pytest.raises(CheckpointError, match="'lstm_cell/bias' has dtype int32"):
        restore(reader, LSTMCell(5), forget_bias=1.0)
