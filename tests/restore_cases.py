"""Checkpoints of LSTM cells for the tests of restoring."""

from __future__ import annotations

import numpy as np

import checkpoint_writer as writer
from lstmcore.checkpoint import CheckpointReader, load_checkpoint

DIAGONALS = ("w_f_diag", "w_i_diag", "w_o_diag")


def cell_tensors(scope, inputs=3, units=5, num_proj=None, diagonals=(), dtype=np.float32, seed=1):
    rng = np.random.default_rng(seed)
    rows = inputs + (num_proj or units)
    tensors = {
        f"{scope}/kernel": rng.normal(size=(rows, 4 * units)).astype(dtype),
        f"{scope}/bias": rng.normal(size=4 * units).astype(dtype),
    }
    for name in diagonals:
        tensors[f"{scope}/{name}"] = rng.normal(size=units).astype(dtype)
    if num_proj:
        tensors[f"{scope}/projection/kernel"] = rng.normal(size=(units, num_proj)).astype(dtype)
    return tensors


def save(folder, *groups) -> CheckpointReader:
    """A reader of a checkpoint that holds the tensors of all ``groups``."""
    tensors = {name: value for group in groups for name, value in group.items()}
    return load_checkpoint(writer.write(folder / "m", tensors))


def weights_of(cell):
    return {v.op.name.rpartition("/")[2]: np.array(v) for v in cell.weights}


def assert_is(variable, expected):
    np.testing.assert_array_equal(np.array(variable), expected)
