"""NumPy: the input projection of all steps at once, preallocated arrays."""

from __future__ import annotations

import numpy as np

from lstmcore.benchmark.cases import Array, Case, Direction, Inputs, Variant


def _activate(z: Array, units: int) -> None:
    """Sigmoid of i, f and o, tanh of j, in place."""
    j = np.tanh(z[:, units : 2 * units])
    np.negative(z, out=z)
    np.exp(z, out=z)
    z += 1
    np.reciprocal(z, out=z)
    z[:, units : 2 * units] = j


def _update(z: Array, c: Array, out: Array) -> None:
    units = c.shape[1]
    _activate(z, units)
    c *= z[:, 2 * units : 3 * units]
    c += z[:, :units] * z[:, units : 2 * units]
    np.tanh(c, out=out)
    out *= z[:, 3 * units :]


def version() -> str:
    return str(np.__version__)


def variants(case: Case, inputs: Inputs, threads: int) -> dict[str, Variant]:
    if case.ragged:
        return {}
    return {"numpy": _steps(case, inputs) if case.is_step else _sequences(case, inputs)}


def _steps(case: Case, inputs: Inputs) -> Variant:
    weights = inputs.layers[0][0]
    kernel = np.concatenate([weights.W, weights.R])
    xh = np.zeros((case.batch, kernel.shape[0]), np.float32)
    xh[:, : case.input_size] = inputs.x[0]
    h = xh[:, case.input_size :]
    c = np.zeros((case.batch, case.num_units), np.float32)
    z = np.empty((case.batch, 4 * case.num_units), np.float32)

    def run(n: int) -> None:
        for _ in range(n):
            np.matmul(xh, kernel, out=z)
            np.add(z, weights.b, out=z)
            _update(z, c, h)

    return Variant(run, lambda: h)


def _direction(weights: Direction, x: Array, backward: bool) -> Array:
    steps, batch, width = x.shape
    units = weights.R.shape[0]
    projected = (x.reshape(-1, width) @ weights.W + weights.b).reshape(steps, batch, 4 * units)
    y = np.empty((steps, batch, units), np.float32)
    h, c = np.zeros((2, batch, units), np.float32)
    z = np.empty((batch, 4 * units), np.float32)
    for t in reversed(range(steps)) if backward else range(steps):
        np.matmul(h, weights.R, out=z)
        np.add(z, projected[t], out=z)
        _update(z, c, y[t])
        h = y[t]
    return y


def _sequences(case: Case, inputs: Inputs) -> Variant:
    y: Array = np.empty(0)

    def run(n: int) -> None:
        nonlocal y
        for _ in range(n):
            y = inputs.x
            for directions in inputs.layers:
                parts = [_direction(w, y, bool(k)) for k, w in enumerate(directions)]
                y = np.concatenate(parts, axis=2) if len(parts) > 1 else parts[0]

    return Variant(run, lambda: y)
