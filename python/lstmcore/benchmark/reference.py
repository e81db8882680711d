"""The cases in float64, straight from the equations; what every engine is held to."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore.benchmark.cases import Array, Case, Direction, Inputs


def _sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def _step(weights: Direction, x: Array, c: Array, h: Array) -> tuple[Array, Array]:
    z: Any = x.astype(np.float64) @ weights.W + h @ weights.R + weights.b
    i, j, f, o = np.split(z, 4, axis=1)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(j)
    return c, _sigmoid(o) * np.tanh(c)


def _layer(weights: Direction, x: Array, lengths: Array, backward: bool) -> Array:
    rows = np.arange(x.shape[1])
    c = h = np.zeros((x.shape[1], weights.R.shape[0]))
    y = np.zeros((*x.shape[:2], weights.R.shape[0]))
    for step in range(x.shape[0]):
        at = np.maximum(lengths - 1 - step, 0) if backward else np.full_like(lengths, step)
        running = (step < lengths)[:, None]
        c_new, h_new = _step(weights, x[at, rows], c, h)
        c, h = np.where(running, c_new, c), np.where(running, h_new, h)
        y[at[running[:, 0]], rows[running[:, 0]]] = h[running[:, 0]]
    return y


def expected(case: Case, inputs: Inputs, runs: int) -> Array:
    """What ``Variant.output`` is to be after so many runs."""
    if case.is_step:
        c = h = np.zeros((case.batch, case.num_units))
        for _ in range(runs):
            c, h = _step(inputs.layers[0][0], inputs.x[0], c, h)
        return h
    y: Array = inputs.x
    lengths = inputs.lengths
    if lengths is None:
        lengths = np.full(case.batch, case.steps)
    for directions in inputs.layers:
        parts = [_layer(w, y, lengths, bool(k)) for k, w in enumerate(directions)]
        y = np.concatenate(parts, axis=2)
    return y
