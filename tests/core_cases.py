"""Random problems for the native core: a cell, its inputs, and the core object that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import reference
from lstmcore import _core

# One, primes, and one below, at and above every vector width in use (2 to 16 lanes) and its
# multiples.
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 31, 32, 33, 67)
DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Problem:
    """x [N, T, I], c [N, H], h [N, P], lengths [N] in 0..T; arrays have the cell's dtype."""

    recipe: str  # the call of make() that gives this problem again
    cell: reference.Cell
    x: np.ndarray
    c: np.ndarray
    h: np.ndarray
    lengths: np.ndarray

    def __repr__(self) -> str:
        return self.recipe

    @property
    def dtype(self) -> str:
        return str(self.x.dtype)

    def native(self) -> _core.Lstm:
        cell = self.cell
        return _core.Lstm(
            cell.kernel,
            cell.bias,
            num_units=cell.num_units,
            w_i_diag=cell.w_i_diag,
            w_f_diag=cell.w_f_diag,
            w_o_diag=cell.w_o_diag,
            proj_kernel=cell.proj_kernel,
            forget_bias=cell.forget_bias,
            cell_clip=cell.cell_clip,
            proj_clip=cell.proj_clip,
            activation=cell.activation,
        )

    def exact_cell(self) -> reference.Cell:
        return reference.rounded(self.cell, self.dtype)


def make(
    *,
    rows: int = 3,
    steps: int = 5,
    inputs: int = 6,
    units: int = 9,
    dtype: str = "float32",
    proj: int | None = None,
    peepholes: bool = False,
    seed: int = 1,
    scale: float = 1.0,
    **options: Any,
) -> Problem:
    """Weights of the size training gives, inputs and states of order one, never zero."""
    recipe = f"make(**{locals()})".replace("'options': {", "**{")
    rng = np.random.default_rng([seed, rows, steps, inputs, units])
    width = units if proj is None else proj

    def draw(*shape: int, bound: float = 1.0) -> np.ndarray:
        return rng.uniform(-bound, bound, shape).astype(dtype)

    diags = {}
    if peepholes:
        diags = {name: draw(units) for name in ("w_i_diag", "w_f_diag", "w_o_diag")}
    cell = reference.Cell(
        kernel=draw(inputs + width, 4 * units, bound=scale / np.sqrt(inputs + width)),
        bias=draw(4 * units),
        proj_kernel=None if proj is None else draw(units, proj, bound=2 / np.sqrt(units)),
        **diags,
        **options,
    )
    lengths = rng.integers(0, steps + 1, rows)
    return Problem(
        recipe,
        cell,
        x=draw(rows, steps, inputs, bound=2.0),
        c=draw(rows, units),
        h=draw(rows, width),
        lengths=lengths,
    )


@st.composite
def problems(draw: st.DrawFn, *, steps: tuple[int, ...], gates: bool = False) -> Problem:
    """Every option of the core, or with ``gates`` those of the block operations."""
    activation = draw(st.sampled_from(_core.fused_activations()))
    # Unclipped, the exponential feeds back on itself and overflows within a few steps.
    clips = (0.4, 1.3) if activation == "exponential" else (None, 0.4, 1.3)
    projections = st.none() if gates else st.none() | st.sampled_from(SIZES)
    return make(
        rows=draw(st.sampled_from((0, 1, 2, 3, 4, 5, 6, 7, 11, 17))),
        steps=draw(st.sampled_from(steps)),
        inputs=draw(st.sampled_from(SIZES)),
        units=draw(st.sampled_from(SIZES)),
        dtype=draw(st.sampled_from(DTYPES)),
        proj=draw(projections),
        peepholes=draw(st.booleans()),
        seed=draw(st.integers(0, 2**32 - 1)),
        forget_bias=draw(st.sampled_from((1.0, 0.3, -0.7, 5.0))),
        cell_clip=draw(st.sampled_from(clips)),
        proj_clip=draw(st.sampled_from((None, 0.2))),
        activation=activation,
    )
