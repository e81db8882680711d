"""One LSTM time step in NumPy, for activations without a fused kernel.

Slower than the native step, and its sums run in the order of NumPy's matmul, so results may differ
in the last bits between batch sizes. The equations are those of the native step (Hochreiter &
Schmidhuber 1997; peepholes Gers et al. 2002; projection Sak et al. 2014).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lstmcore.activations import ActivationFunction, sigmoid
from lstmcore.arrays import Array, shape_text
from lstmcore.errors import InvalidArgumentError


class StepWeights(NamedTuple):
    """All of one dtype; H = num_units, I = input depth, P = output width.

    ``kernel`` [I+P, 4H] with columns i, j, f, o; ``bias`` [4H]; ``w_*_diag`` [H], all or none;
    ``proj_kernel`` [H, P] or None.
    """

    kernel: Array
    bias: Array
    w_i_diag: Array | None
    w_f_diag: Array | None
    w_o_diag: Array | None
    proj_kernel: Array | None


class StepSettings(NamedTuple):
    forget_bias: float
    cell_clip: float | None
    proj_clip: float | None


def step(
    weights: StepWeights,
    settings: StepSettings,
    activation: ActivationFunction,
    x: Array,
    c: Array,
    h: Array,
) -> tuple[Array, Array]:
    """(new c [N, H], new h [N, P]) from x [N, I], c [N, H] and h [N, P], all of one dtype."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        gates = np.concatenate([x, h], axis=1) @ weights.kernel + weights.bias
        i, j, f, o = np.split(gates, 4, axis=1)
        f = f + settings.forget_bias
        if weights.w_i_diag is not None and weights.w_f_diag is not None:
            i = i + weights.w_i_diag * c
            f = f + weights.w_f_diag * c
        new_c = sigmoid(f) * c + sigmoid(i) * _activated(activation, j)
        new_c = _clipped(new_c, settings.cell_clip)
        if weights.w_o_diag is not None:
            o = o + weights.w_o_diag * new_c
        new_h = sigmoid(o) * _activated(activation, new_c)
        if weights.proj_kernel is not None:
            new_h = _clipped(new_h @ weights.proj_kernel, settings.proj_clip)
    return new_c, new_h


def _activated(activation: ActivationFunction, x: Array) -> Array:
    """``activation(x)`` in x's dtype. Raises InvalidArgumentError where the shape is another."""
    result: Any = np.asarray(activation(x))
    if result.shape != x.shape:
        raise InvalidArgumentError(
            f"Incompatible shapes: {shape_text(x.shape)} vs. {shape_text(result.shape)}; the "
            "activation must return an array of the shape it is given"
        )
    return np.asarray(result, dtype=x.dtype)


def _clipped(values: Array, limit: float | None) -> Array:
    """Upper bound first, then the lower, so that a negative limit gives ``-limit`` everywhere."""
    return values if limit is None else np.maximum(np.minimum(values, limit), -limit)
