"""Cells with random weights and options to stream, and whole sequences to compare with."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

import cell_helpers
import core_cases
import lstmcore
from lstmcore import nest


class Case(NamedTuple):
    """x [T, N, I], a state of N rows, and the cell, built."""

    cell: Any
    x: np.ndarray
    state: Any

    def whole(self) -> tuple[np.ndarray, Any]:
        """Outputs [T, N, P] and the last state of the whole sequence at once."""
        return lstmcore.dynamic_rnn(self.cell, self.x, initial_state=self.state, time_major=True)


def finished(cell: Any, *, rows: int, steps: int, inputs: int, dtype: str, seed: int = 1) -> Case:
    """The case of a cell that is not built."""
    rng = np.random.default_rng(seed)
    with lstmcore.Graph().as_default():  # names may be those of another case
        cell(np.zeros((1, inputs), dtype), cell.zero_state(1, dtype))
    cell_helpers.random_weights(cell, rng)
    state = nest.map_structure(
        lambda size: rng.normal(size=(rows, size)).astype(dtype), cell.state_size
    )
    return Case(cell, rng.normal(size=(steps, rows, inputs)).astype(dtype), state)


def make(
    layers: int = 2, *, rows: int = 1, steps: int = 9, inputs: int = 5, dtype: str = "float32"
) -> Case:
    """A stack of full cells: peepholes, projections and clips."""
    cells = [
        lstmcore.LSTMCell(
            7 + level, use_peepholes=True, num_proj=6 - level, cell_clip=0.9, proj_clip=0.5
        )
        for level in range(layers)
    ]
    cell = cells[0] if layers == 1 else lstmcore.MultiRNNCell(cells)
    return finished(cell, rows=rows, steps=steps, inputs=inputs, dtype=dtype)


@st.composite
def cells(draw: st.DrawFn, dtype: str) -> Any:
    """A cell of any kind and options, not built."""
    units = draw(st.sampled_from(core_cases.SIZES))
    forget_bias = draw(st.sampled_from((1.0, 0.3, -0.7)))
    clip = draw(st.sampled_from((None, 0.4, 1.3)))
    kind = draw(st.sampled_from(("basic", "full", "block")))
    if kind == "basic":
        return lstmcore.BasicLSTMCell(units, forget_bias, activation="softsign")
    if kind == "block" and dtype == "float32":
        return lstmcore.LSTMBlockCell(units, forget_bias, clip, draw(st.booleans()))
    return lstmcore.LSTMCell(
        units,
        use_peepholes=draw(st.booleans()),
        cell_clip=clip,
        num_proj=draw(st.none() | st.sampled_from(core_cases.SIZES)),
        proj_clip=draw(st.sampled_from((None, 0.2))),
        forget_bias=forget_bias,
    )


@st.composite
def cases(draw: st.DrawFn, *, steps: tuple[int, ...], rows: tuple[int, ...]) -> Case:
    dtype = draw(st.sampled_from(core_cases.DTYPES))
    layers = [draw(cells(dtype)) for _ in range(draw(st.integers(1, 3)))]
    return finished(
        layers[0] if len(layers) == 1 else lstmcore.MultiRNNCell(layers),
        rows=draw(st.sampled_from(rows)),
        steps=draw(st.sampled_from(steps)),
        inputs=draw(st.sampled_from(core_cases.SIZES)),
        dtype=dtype,
        seed=draw(st.integers(0, 2**32 - 1)),
    )


def identical(a: Any, b: Any) -> bool:
    """Whether two structures of arrays are the same bits."""
    pairs = zip(nest.flatten(a), nest.flatten(b), strict=True)
    return all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in pairs
    )
