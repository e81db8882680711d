"""Makes the golden files by running real TensorFlow; the tests then need no TensorFlow.

    pip install "tensorflow-cpu==2.15.1" "numpy<2"
    python tests/make_golden.py

The cells run eagerly, the unrolling functions in a graph as in TensorFlow 1. Inputs and weights are
made by ``golden_cases.draw`` and not stored, except for a checksum that tells when they changed.
Files:

    golden/cells.npz       per dtype, one vector of c and h of all cell cases, and TensorFlow's
                           largest error against the float64 reference over the 40 steps of each
    golden/sequences.npz   outputs and variable names of each sequence case
    golden/blocks.npz      outputs of each block operation case
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import golden_cases as cases
import golden_sequences as sequences

FOLDER = Path(__file__).parent / "golden"


def run_cell(case: cases.CellCase) -> tuple[np.ndarray, np.ndarray]:
    """TensorFlow's c [N, T, H] and h [N, T, P] over the 40 steps."""
    cell = getattr(tf.compat.v1.nn.rnn_cell, case.class_name)(**case.arguments())
    x, c, h = case.inputs()
    cell(x[:, 0], (c, h))  # builds, and fixes the dtype
    for variable in cell.variables:
        variable.assign(case.value(variable.name, tuple(variable.shape)))
    state = (tf.constant(c), tf.constant(h))
    cs, hs = [], []
    for t in range(cases.STEPS):
        _, state = cell(tf.constant(x[:, t]), state)
        cs.append(state[0].numpy())
        hs.append(state[1].numpy())
    return np.stack(cs, axis=1), np.stack(hs, axis=1)


def make_cells() -> None:
    values: dict[str, list[np.ndarray]] = {"float32": [], "float64": []}
    errors = []
    for case in cases.CELL_CASES:
        c, h = run_cell(case)
        exact = case.exact()
        errors.append(max(np.abs(c - exact.cs).max(), np.abs(h - exact.y).max()))
        values[case.dtype].append(cases.stored(case, c, h))
    x, c, h = cases.CELL_CASES[0].inputs()
    np.savez_compressed(
        FOLDER / "cells.npz",
        names=np.array([case.name for case in cases.CELL_CASES]),
        tensorflow_error=np.array(errors),
        input_sums=np.array([a.sum(dtype=np.float64) for a in (x, c, h)]),
        **{dtype: np.concatenate(parts) for dtype, parts in values.items()},
    )


def run_sequence(name: str, dtype: str) -> tuple[list[np.ndarray], list[str]]:
    """Outputs of a sequence case, flattened, and the names of its variables, in a fresh graph."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        inputs = sequences.sequence_inputs(name, dtype)
        tensors: dict[str, Any] = {key: tf.constant(value) for key, value in inputs.items()}
        cells, run = sequences.SEQUENCE_CASES[name](tf.compat.v1, tensors)
        outputs = sequences.flatten(run())
        variables = [variable for cell in cells for variable in cell.variables]
        for variable in variables:
            shape = tuple(variable.shape.as_list())
            variable.load(cases.weight(name, variable.name, shape, dtype), session)
        return session.run(outputs), [variable.name for variable in variables]


def make_sequences() -> None:
    arrays = {}
    for name in sequences.SEQUENCE_CASES:
        for dtype in ("float32", "float64"):
            outputs, variable_names = run_sequence(name, dtype)
            arrays[f"{name}/variables"] = np.array(variable_names)
            arrays |= {f"{name}/{dtype}/{k}": value for k, value in enumerate(outputs)}
    np.savez_compressed(FOLDER / "sequences.npz", **arrays)


def make_blocks() -> None:
    arrays = {}
    for case in sequences.BLOCK_CASES:
        outputs = getattr(tf.raw_ops, case.op)(**case.arguments())
        for output in sequences.OUTPUTS:
            value = getattr(outputs, output).numpy()
            arrays[f"{case.name}/{output}"] = case.defined(output, value)
    np.savez_compressed(FOLDER / "blocks.npz", **arrays)


def main() -> None:
    warnings.simplefilter("ignore")
    FOLDER.mkdir(exist_ok=True)
    make_cells()
    make_sequences()
    make_blocks()
    for path in sorted(FOLDER.glob("*.npz")):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
