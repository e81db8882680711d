"""Whether converted weights compute what the source's own equations compute."""

from __future__ import annotations

import numpy as np

from lstmcore import activations
from lstmcore.activations import sigmoid
from lstmcore.arrays import Array
from lstmcore.formats.layouts import Layout, Sizes
from lstmcore.formats.layouts.base import Weights
from lstmcore.models.description import Cell, CellSpec

_ROWS, _STEPS = 2, 3
# In float64 the two differ by rounding alone; a block in the wrong place changes every digit.
BOUND = 1e-9


def reference(layout: Layout, weights: Weights, spec: CellSpec, x: Array) -> Array:
    """h at each step of x [T, N, I] from a zero state, by the layout's equations in float64."""
    act = activations.get(spec.activation).function
    gate = activations.get(spec.recurrent_activation).function
    if spec.recurrent_activation == "sigmoid":
        gate = sigmoid
    wide = {role: np.asarray(value, np.float64) for role, value in weights.items()}
    peepholes, projection = layout.peepholes(wide, spec.num_units), layout.projection(wide)
    c = np.zeros((x.shape[1], spec.num_units))
    h = np.zeros((x.shape[1], spec.output_size))
    outputs = []
    for row in x:
        z = layout.pre_activations(wide, row, h)
        i = gate(z["i"] + peepholes.get("i", 0.0) * c)
        f = gate(z["f"] + spec.forget_bias + peepholes.get("f", 0.0) * c)
        c = f * c + i * act(z["j"])
        if spec.cell_clip is not None:
            c = np.clip(c, -spec.cell_clip, spec.cell_clip)
        h = gate(z["o"] + peepholes.get("o", 0.0) * c) * act(c)
        if projection is not None:
            h = h @ projection
            if spec.proj_clip is not None:
                h = np.clip(h, -spec.proj_clip, spec.proj_clip)
        outputs.append(h)
    return np.stack(outputs)


def difference(layout: Layout, weights: Weights, sizes: Sizes, spec: CellSpec) -> float:
    """The largest difference between the kernel with converted weights and ``reference``.

    Relative to the largest output, on random inputs, both in float64. NaN and infinities count as
    equal where both have them: they are the weights' own.
    """
    wide = {role: np.asarray(value, np.float64) for role, value in weights.items()}
    random = np.random.default_rng(spec.num_units)
    x = random.normal(size=(_STEPS, _ROWS, spec.input_size))
    with np.errstate(all="ignore"):
        expected = reference(layout, wide, spec, x)
        # Each form is let go once the next is there: of a large cell every one is large.
        canonical = layout.to_canonical(wide, sizes)
        del wide
        native = Cell(spec, {k: np.ascontiguousarray(v) for k, v in canonical.items()}).native()
        del canonical
        got = native.forward(x, time_major=True)[0]
        finite = np.isfinite(expected)
        if not np.array_equal(finite, np.isfinite(got)):
            return float("inf")
        gap = np.abs(got[finite] - expected[finite])
        scale = np.abs(expected[finite]).max(initial=1e-30)
    return float(gap.max(initial=0.0) / scale)
