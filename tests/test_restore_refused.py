"""What restoring refuses, and that cells are untouched then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lstmcore.cells.block_cells import CudnnCompatibleLSTMCell
from lstmcore.cells.lstm_cells import BasicLSTMCell, LSTMCell
from lstmcore.cells.multi_rnn_cell import MultiRNNCell
from lstmcore.cells.rnn_cell import RNNCell
from lstmcore.checkpoint import cells_from_checkpoint, load_checkpoint, restore
from lstmcore.errors import CheckpointError
from lstmcore.variables.graph import Graph
from restore_cases import DIAGONALS, assert_is, cell_tensors, save, weights_of

GOLDEN = Path(__file__).parent / "golden" / "checkpoint"


@pytest.fixture(autouse=True)
def fresh_graph():
    with Graph().as_default():
        yield


@pytest.fixture
def saved(tmp_path):
    return lambda *groups, **more: save(tmp_path, *groups, more)


# forget_bias and CudnnLSTM


def test_forget_bias_must_be_stated(saved):
    reader = saved(cell_tensors("rnn/lstm_cell"))
    with pytest.raises(CheckpointError, match=r"'rnn/lstm_cell' needs a forget_bias: it is not"):
        restore(reader, LSTMCell(5), "rnn")
    with pytest.raises(CheckpointError, match=r"needs a forget_bias"):
        cells_from_checkpoint(reader, "rnn")
    with pytest.raises(CheckpointError, match=r"needs a forget_bias"):
        restore(reader, CudnnCompatibleLSTMCell(5), "rnn")
    with pytest.raises(TypeError, match="forget_bias must be a number"):
        restore(reader, LSTMCell(5), "rnn", forget_bias="1.0")


@pytest.mark.parametrize(("own", "stated"), [(1.0, 0.0), (0.0, 1.0), (1.0, 0.5)])
def test_forget_bias_must_be_the_cells(saved, own, stated):
    cell = LSTMCell(5, forget_bias=own)
    reader = saved(cell_tensors("rnn/lstm_cell"))
    with pytest.raises(CheckpointError, match=f"told forget_bias={stated}.*forget_bias={own}"):
        restore(reader, cell, "rnn", forget_bias=stated)
    assert not cell.built


CUDNN_SCOPES = [
    "rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell",
    "net/cudnn_lstm/rnn/multi_rnn_cell/cell_0/lstm_cell",
    "rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell_3",
]


@pytest.mark.parametrize("scope", CUDNN_SCOPES)
def test_cudnn_scope_takes_cells_without_forget_bias(saved, scope):
    tensors = cell_tensors(scope)
    for stated in (None, 0.0):
        for cell in (CudnnCompatibleLSTMCell(5), LSTMCell(5, forget_bias=0.0)):
            restore(saved(tensors), MultiRNNCell([cell]), scope.split("/")[0], forget_bias=stated)
            assert_is(cell.weights[0], tensors[f"{scope}/kernel"])


@pytest.mark.parametrize("scope", CUDNN_SCOPES)
def test_cudnn_scope_refuses_other_forget_biases(saved, scope):
    reader = saved(cell_tensors(scope))
    top = scope.split("/")[0]
    cell = MultiRNNCell([LSTMCell(5)])
    with pytest.raises(CheckpointError, match=r"forget_bias=0\.0.*CudnnCompatibleLSTMCell"):
        restore(reader, cell, top)
    with pytest.raises(CheckpointError, match="CudnnLSTM trained it"):
        restore(reader, cell, top, forget_bias=1.0)
    with pytest.raises(CheckpointError, match="CudnnLSTM trained it"):
        cells_from_checkpoint(reader, top, forget_bias=1.0)


def test_opaque_cudnn_buffer_is_refused_by_name(saved):
    reader = saved(**{"net/cudnn_lstm/opaque_kernel": np.ones(500, np.float32)})
    with pytest.raises(CheckpointError, match=r"'net/cudnn_lstm/opaque_kernel' is an opaque"):
        restore(reader, CudnnCompatibleLSTMCell(5), "net")


def test_keras_layout_is_refused_by_name(saved):
    tensors = cell_tensors("lstm/cell") | {"lstm/cell/recurrent_kernel": np.ones((5, 20), "f4")}
    with pytest.raises(CheckpointError, match=r"lstm/cell/recurrent_kernel' belongs to a Keras"):
        restore(saved(tensors), LSTMCell(5), "lstm", forget_bias=1.0)


# What does not fit


@pytest.mark.parametrize(
    ("changes", "cell", "message"),
    [
        (
            {},
            lambda: LSTMCell(7),
            r"\(8, 20\); for num_units=7 expected \(input \+ 7, 28\). "
            r"20 = 4 x 5: did you mean num_units=5\?",
        ),
        ({"num_proj": 2}, lambda: LSTMCell(5), r"did you mean LSTMCell\(5, num_proj=2\)"),
        ({"num_proj": 2}, lambda: BasicLSTMCell(5), r"did you mean LSTMCell\(5, num_proj=2\)"),
        ({}, lambda: LSTMCell(5, num_proj=2), "did you mean num_proj=None"),
        ({"num_proj": 3}, lambda: LSTMCell(5, num_proj=2), r"num_proj=3\)\?"),
        ({"diagonals": DIAGONALS}, lambda: LSTMCell(5), r"use_peepholes=True\)\?"),
        ({}, lambda: LSTMCell(5, use_peepholes=True), "the checkpoint has no w_i_diag"),
        ({"diagonals": DIAGONALS[:2]}, lambda: LSTMCell(5, use_peepholes=True), "expected all of"),
        ({"inputs": -1}, lambda: LSTMCell(5), "kernel has 4 rows; expected more than the 5"),
    ],
)
def test_sizes_that_do_not_fit(saved, changes, cell, message):
    cell = cell()
    with pytest.raises(CheckpointError, match=message):
        restore(saved(cell_tensors("rnn/lstm_cell", **changes)), cell, "rnn", forget_bias=1.0)
    assert not cell.built


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("bias", (40,), r"bias has shape \(40,\).*CuDNN"),
        ("bias", (19,), r"expected \(20,\)"),
        ("kernel", (8, 19), r"kernel has shape \(8, 19\)"),
        ("kernel", (8,), r"kernel has shape \(8,\)"),
        ("kernel", (8, 0), r"kernel has shape \(8, 0\)"),
        ("w_i_diag", (4,), r"w_i_diag has shape \(4,\)"),
        ("projection/kernel", (4, 2), r"expected \(5, num_proj\)"),
    ],
)
def test_shapes_that_contradict(saved, name, shape, message):
    tensors = cell_tensors("rnn/lstm_cell", diagonals=DIAGONALS, num_proj=2)
    tensors[f"rnn/lstm_cell/{name}"] = np.ones(shape, np.float32)
    cell = LSTMCell(5, use_peepholes=True, num_proj=2)
    with pytest.raises(CheckpointError, match=message):
        restore(saved(tensors), cell, "rnn", forget_bias=1.0)


def test_built_cell_of_another_input_depth(saved):
    cell = LSTMCell(5)
    cell(np.ones((1, 4), np.float32), cell.zero_state(1, np.float32))
    with pytest.raises(CheckpointError, match="an input of 3; the cell is built for an input of 4"):
        restore(saved(cell_tensors("rnn/lstm_cell")), cell, "rnn", forget_bias=1.0)


def test_nothing_changes_when_the_last_cell_does_not_fit(saved):
    first = LSTMCell(5)
    first(np.ones((1, 3), np.float32), first.zero_state(1, np.float32))
    before = weights_of(first)
    reader = saved(
        cell_tensors("multi_rnn_cell/cell_0/lstm_cell"),
        cell_tensors("multi_rnn_cell/cell_1/lstm_cell", inputs=5, units=6),
    )
    second = LSTMCell(5)
    with pytest.raises(CheckpointError, match="did you mean num_units=6"):
        restore(reader, MultiRNNCell([first, second]), forget_bias=1.0)
    for name, value in weights_of(first).items():
        np.testing.assert_array_equal(value, before[name])
    assert not second.built


def test_corrupt_tensor_changes_nothing(saved, tmp_path):
    reader = saved(cell_tensors("rnn/lstm_cell"))
    data = tmp_path / "m.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1] + b"\x55")
    cell = LSTMCell(5)
    with pytest.raises(CheckpointError, match="checksum mismatch"):
        restore(reader, cell, "rnn", forget_bias=1.0)
    assert not cell.built


def test_missing_tensors_are_named(saved):
    tensors = cell_tensors("rnn/lstm_cell")
    del tensors["rnn/lstm_cell/bias"]
    with pytest.raises(CheckpointError, match="has no bias, only rnn/lstm_cell/kernel"):
        restore(saved(tensors), LSTMCell(5), "rnn", forget_bias=1.0)


def test_unused_tensors_are_named(saved):
    reader = saved(cell_tensors("rnn/lstm_cell"), **{"rnn/lstm_cell/gamma": np.float32([1])})
    with pytest.raises(
        CheckpointError, match=r"tensors not used \(1\): rnn/lstm_cell/gamma\. Pass"
    ):
        restore(reader, LSTMCell(5), "rnn", forget_bias=1.0)
    reader = load_checkpoint(GOLDEN / "model")
    with pytest.raises(CheckpointError, match=r"not used \(2\): encoder/.*cell_1"):
        restore(reader, MultiRNNCell([BasicLSTMCell(5)]), "encoder", forget_bias=1.0)


def test_wrong_scope_lists_the_cells_there_are():
    with pytest.raises(
        CheckpointError, match=r"no weights under scope 'nope'.*'both/bw/lstm_cell'"
    ):
        restore(GOLDEN / "model", LSTMCell(3), "nope", forget_bias=1.0)
    with pytest.raises(CheckpointError, match=r"has no single LSTM cell.*'both/bw/lstm_cell'"):
        restore(GOLDEN / "model", LSTMCell(3), "both", forget_bias=1.0)
    with pytest.raises(CheckpointError, match="has no LSTM cell for place 'cell 2'"):
        stack = MultiRNNCell([BasicLSTMCell(5), BasicLSTMCell(4), BasicLSTMCell(4)])
        restore(GOLDEN / "model", stack, "encoder", forget_bias=1.0)


def test_two_candidates_are_ambiguous(saved):
    reader = saved(cell_tensors("rnn/a"), cell_tensors("rnn/b"))
    with pytest.raises(CheckpointError, match="more than one single LSTM cell: 'rnn/a', 'rnn/b'"):
        restore(reader, LSTMCell(5), "rnn", forget_bias=1.0)
    both_names = cell_tensors("rnn/a") | {"rnn/a/weights": np.ones((8, 20), np.float32)}
    with pytest.raises(CheckpointError, match="both the kernel"):
        restore(saved(both_names), LSTMCell(5), "rnn", forget_bias=1.0)


@pytest.mark.parametrize(
    "cells",
    [
        [],
        lambda: [LSTMCell(5)],
        lambda: ([LSTMCell(5)], LSTMCell(5)),
        lambda: ([LSTMCell(5)], []),
        RNNCell,
        3,
        None,
    ],
)
def test_what_is_no_structure_of_lstm_cells(saved, cells):
    cells = cells() if callable(cells) else cells
    with pytest.raises(TypeError, match=r"^cells: expected"):
        restore(saved(cell_tensors("rnn/lstm_cell")), cells, "rnn", forget_bias=1.0)
