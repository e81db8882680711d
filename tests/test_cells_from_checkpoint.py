"""Cells made from what a checkpoint holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lstmcore.cells.block_cells import CudnnCompatibleLSTMCell
from lstmcore.cells.lstm_cells import BasicLSTMCell, LSTMCell
from lstmcore.cells.multi_rnn_cell import MultiRNNCell
from lstmcore.checkpoint import cells_from_checkpoint
from lstmcore.errors import CheckpointError
from lstmcore.rnn.dynamic import bidirectional_dynamic_rnn
from lstmcore.variables.graph import Graph
from make_checkpoints import golden_values
from restore_cases import assert_is, cell_tensors, save

GOLDEN = Path(__file__).parent / "golden" / "checkpoint"


@pytest.fixture(autouse=True)
def fresh_graph():
    with Graph().as_default():
        yield


@pytest.fixture
def saved(tmp_path):
    return lambda *groups, **more: save(tmp_path, *groups, more)


def test_cells_of_class_and_size():
    cell = cells_from_checkpoint(GOLDEN / "model", "decoder", forget_bias=1.0, cell_clip=2.5)
    assert type(cell) is LSTMCell
    config = cell.get_config()
    assert (config["num_units"], config["num_proj"], config["use_peepholes"]) == (5, 2, True)
    assert config["cell_clip"] == 2.5
    stack = cells_from_checkpoint(GOLDEN / "model", "encoder", forget_bias=0.5)
    assert isinstance(stack, MultiRNNCell)
    assert stack.output_size == 4
    assert [v.shape for v in stack.weights] == [(7, 20), (20,), (9, 16), (16,)]
    forward, _ = cells_from_checkpoint(GOLDEN / "model", "both", forget_bias=1.0)
    assert_is(forward.weights[0], golden_values("both/fw/lstm_cell/kernel", (6, 12)))


def test_cells_run(saved):
    groups = [
        cell_tensors(f"net/cell_{k}/bidirectional_rnn/{d}/basic_lstm_cell", 3 + 7 * k)
        for k in (0, 1)
        for d in ("fw", "bw")
    ]
    forward, backward = cells_from_checkpoint(saved(*groups), "net", forget_bias=1.0)
    assert [type(cell) for cell in forward + backward] == [BasicLSTMCell] * 4
    x = np.ones((2, 4, 3), np.float32)
    outputs, _ = bidirectional_dynamic_rnn(forward[0], backward[0], x, dtype=np.float32)
    assert outputs[0].shape == (2, 4, 5)


def test_cells_of_cudnn_and_float64(saved):
    scope = "rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"
    stack = cells_from_checkpoint(saved(cell_tensors(scope)), "rnn")
    assert type(stack._cells[0]) is CudnnCompatibleLSTMCell
    cell = cells_from_checkpoint(
        saved(cell_tensors("lstm_cell", dtype=np.float64)), forget_bias=1.0
    )
    assert cell.dtype == "float64"


@pytest.mark.parametrize(
    ("scopes", "message"),
    [
        (["multi_rnn_cell/cell_0/a", "multi_rnn_cell/cell_2/a"], "form no stack"),
        (["fw/a"], "form no stack"),
        (["fw/a", "b"], "form no stack"),
        (["cell_0/fw/a", "cell_0/bw/a", "cell_1/a"], "partly bidirectional"),
        (["dense_block/x/y/a"], "no LSTM cells directly under"),
        (["a", "b"], "more than one"),
    ],
)
def test_names_that_form_no_structure(saved, scopes, message):
    with pytest.raises(CheckpointError, match=message):
        cells_from_checkpoint(saved(*map(cell_tensors, scopes)), forget_bias=1.0)


def test_other_layers_beside_the_cells_are_named(saved):
    reader = saved(cell_tensors("net/lstm_cell"), {"dense/kernel": np.ones((2, 3), np.float32)})
    with pytest.raises(CheckpointError, match=r"not used \(2\): net/.*there: 'net/lstm_cell'"):
        cells_from_checkpoint(reader, forget_bias=1.0)


def test_cells_are_named_in_order(saved):
    """Stored names come sorted, bw before fw and 10 before 9."""
    scopes = [f"cell_{k}/bidirectional_rnn/{d}/a" for k in range(11) for d in ("fw", "bw")]
    reader = saved(*(cell_tensors(s, 3 if s.startswith("cell_0") else 10) for s in scopes))
    forward, backward = cells_from_checkpoint(reader, forget_bias=1.0)
    names = [cell.scope_name for pair in zip(forward, backward, strict=True) for cell in pair]
    assert names == ["lstm_cell"] + [f"lstm_cell_{n}" for n in range(1, 22)]
