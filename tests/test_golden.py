"""Our results against TensorFlow's own, recorded by ``make_golden.py``, and against the exact ones.

The golden values were made by TensorFlow 2.15 on the inputs and weights of ``golden_cases``; here
the same cases run through the public Python API.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import golden_cases as cases
import golden_sequences as sequences
import tolerances
from lstmcore import raw_ops, tf
from lstmcore.variables.graph import Graph

GOLDEN = Path(__file__).parent / "golden"
CELL_NAMES = [case.name for case in cases.CELL_CASES]
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated.*")


@cache
def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return dict(arrays)


@cache
def expected_cells() -> dict[str, np.ndarray]:
    """The stored vector of each cell case, cut out of the one vector per dtype."""
    parts, begins = {}, {"float32": 0, "float64": 0}
    for case in cases.CELL_CASES:
        steps = len(cases.STORED_STEPS[case.dtype])
        size = steps * cases.STORED_ROWS * (cases.UNITS + case.output_size)
        begin = begins[case.dtype]
        parts[case.name] = golden("cells")[case.dtype][begin : begin + size]
        begins[case.dtype] += size
    assert all(begins[dtype] == golden("cells")[dtype].size for dtype in begins)
    return parts


def run_cell(case: cases.CellCase) -> tuple[np.ndarray, np.ndarray]:
    """Our c [N, T, H] and h [N, T, P] over the 40 steps, one call a step."""
    with Graph().as_default():
        cell = getattr(tf.nn.rnn_cell, case.class_name)(**case.arguments())
        x, c, h = case.inputs()
        cell(x[:, 0], (c, h))  # builds, and fixes the dtype
        for variable in cell.variables:
            variable.assign(case.value(variable.name, tuple(variable.shape)))
        state: Any = (c, h)
        cs, hs = [], []
        for t in range(cases.STEPS):
            output, state = cell(x[:, t], state)
            assert output is state[1] or np.array_equal(output, state[1])
            cs.append(state[0])
            hs.append(state[1])
    return np.stack(cs, axis=1), np.stack(hs, axis=1)


def test_inputs_are_those_of_the_golden_files() -> None:
    assert golden("cells")["names"].tolist() == CELL_NAMES
    sums = [a.sum(dtype=np.float64) for a in cases.CELL_CASES[0].inputs()]
    assert sums == golden("cells")["input_sums"].tolist()


@pytest.mark.parametrize("case", cases.CELL_CASES, ids=CELL_NAMES)
def test_cell(case: cases.CellCase) -> None:
    c, h = run_cell(case)
    assert c.dtype == h.dtype == case.dtype

    difference = tolerances.error(cases.stored(case, c, h), expected_cells()[case.name])
    assert difference <= tolerances.AGAINST_TENSORFLOW[case.dtype]

    exact = case.exact()
    ours = max(np.abs(c - exact.cs).max(), np.abs(h - exact.y).max())
    if case.dtype == "float64":
        assert ours <= tolerances.FORTY_STEPS_FLOAT64
        return
    theirs = golden("cells")["tensorflow_error"][CELL_NAMES.index(case.name)]
    assert ours <= tolerances.TIMES_TENSORFLOW_ERROR * theirs, (
        f"{ours:.3g} is {ours / theirs:.2f} times TensorFlow's {theirs:.3g}"
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sequences.SEQUENCE_CASES)
def test_sequence(name: str, dtype: str) -> None:
    inputs = sequences.sequence_inputs(name, dtype)
    with Graph().as_default():
        cells, run = sequences.SEQUENCE_CASES[name](tf, inputs)
        run()  # builds
        variables = [variable for cell in cells for variable in cell.variables]
        names = [variable.name for variable in variables]
        assert names == golden("sequences")[f"{name}/variables"].tolist()
        for variable in variables:
            value = cases.weight(name, variable.name, tuple(variable.shape), dtype)
            variable.assign(value)
        outputs = sequences.flatten(run())
    for k, output in enumerate(outputs):
        expected = golden("sequences")[f"{name}/{dtype}/{k}"]
        assert output.dtype == expected.dtype
        assert tolerances.error(output, expected) <= tolerances.AGAINST_TENSORFLOW[dtype]
        assert np.array_equal(output == 0, expected == 0)  # padding, and states that stay zero
    assert f"{name}/{dtype}/{len(outputs)}" not in golden("sequences")


@pytest.mark.parametrize("case", sequences.BLOCK_CASES, ids=lambda case: case.name)
def test_block_operation(case: sequences.BlockCase) -> None:
    outputs = getattr(raw_ops, case.op)(**case.arguments())
    assert outputs._fields == sequences.OUTPUTS
    for name in sequences.OUTPUTS:
        ours = case.defined(name, getattr(outputs, name))
        theirs = golden("blocks")[f"{case.name}/{name}"]
        assert tolerances.error(ours, theirs) <= tolerances.AGAINST_TENSORFLOW["float32"]
