"""The LSTM equations in plain NumPy float64, sharing no code with the library.

Everything here is written from the definitions of TensorFlow's cells, for reading rather than
speed: one row of arithmetic per equation, one Python iteration per time step. The tests compare the
library with it, and ``make_golden.py`` measures TensorFlow's own rounding error against it.

Shapes: N batch, T time, I input depth, H num_units, P output width (num_proj, else H).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

Array = np.ndarray


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow on either side and keeping NaN."""
    decay = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, decay) / (1.0 + decay)


def _selu(x: Array) -> Array:
    alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda x: np.maximum(x, 0.0),
    "linear": lambda x: x,
    "softsign": lambda x: x / (1.0 + np.abs(x)),
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0.0, 1.0),  # Keras 2
    "hard_sigmoid_keras3": lambda x: np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "relu6": lambda x: np.clip(x, 0.0, 6.0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
    "selu": _selu,
    "exponential": np.exp,
    "silu": lambda x: x * sigmoid(x),
    "softplus": lambda x: np.logaddexp(x, 0.0),
}


@dataclass(frozen=True)
class Cell:
    """Weights and options of one LSTM cell, in TensorFlow's layout and names.

    kernel [I+P, 4H], columns i, j, f, o; bias [4H]; w_*_diag [H]; proj_kernel [H, P].
    Options are used as given: round them to the dtype under test before putting them here.
    """

    kernel: Array
    bias: Array
    w_i_diag: Array | None = None
    w_f_diag: Array | None = None
    w_o_diag: Array | None = None
    proj_kernel: Array | None = None
    forget_bias: float = 1.0
    cell_clip: float | None = None
    proj_clip: float | None = None
    activation: str = "tanh"

    @property
    def num_units(self) -> int:
        return self.bias.shape[0] // 4

    @property
    def output_size(self) -> int:
        return self.num_units if self.proj_kernel is None else self.proj_kernel.shape[1]

    @property
    def input_size(self) -> int:
        return self.kernel.shape[0] - self.output_size


def _double(a: Array) -> Array:
    return np.asarray(a, np.float64)


def _clip(x: Array, limit: float) -> Array:
    """TensorFlow's clip_by_value: upper bound first, so a negative limit gives +|limit|."""
    return np.maximum(np.minimum(x, limit), -limit)


def step(cell: Cell, x: Array, c: Array, h: Array) -> tuple[Array, Array]:
    """One time step. x [N, I], c [N, H], h [N, P] -> (c' [N, H], h' [N, P]), all float64."""
    x, c, h = _double(x), _double(c), _double(h)
    act = ACTIVATIONS[cell.activation]
    gates = np.concatenate([x, h], axis=1) @ _double(cell.kernel) + _double(cell.bias)
    i, j, f, o = np.split(gates, 4, axis=1)
    if cell.w_i_diag is not None:
        i = i + _double(cell.w_i_diag) * c
        f = f + _double(cell.w_f_diag) * c
    new_c = sigmoid(f + cell.forget_bias) * c + sigmoid(i) * act(j)
    if cell.cell_clip is not None:
        new_c = _clip(new_c, cell.cell_clip)
    if cell.w_o_diag is not None:
        o = o + _double(cell.w_o_diag) * new_c
    new_h = sigmoid(o) * act(new_c)
    if cell.proj_kernel is not None:
        new_h = new_h @ _double(cell.proj_kernel)
        if cell.proj_clip is not None:
            new_h = _clip(new_h, cell.proj_clip)
    return new_c, new_h


@dataclass(frozen=True)
class Sequence:
    """Result of running T steps: y [N, T, P], cs [N, T, H] (c of every step), last c and h."""

    y: Array
    cs: Array
    c: Array
    h: Array


def forward(
    cell: Cell,
    x: Array,
    c: Array | None = None,
    h: Array | None = None,
    lengths: Array | None = None,
    *,
    reverse: bool = False,
) -> Sequence:
    """All time steps of batch-major x [N, T, I].

    Past a row's length the outputs are 0 and the state stays. With ``reverse`` each row is read
    from its own last step to its first, and each output stands at the position of the input it
    belongs to.
    """
    rows, steps, _ = x.shape
    c = np.zeros((rows, cell.num_units)) if c is None else _double(c).copy()
    h = np.zeros((rows, cell.output_size)) if h is None else _double(h).copy()
    lengths = np.full(rows, steps) if lengths is None else np.asarray(lengths)
    y, cs = np.zeros((rows, steps, cell.output_size)), np.zeros((rows, steps, cell.num_units))
    for s in range(steps):
        live = np.nonzero(s < lengths)[0]
        t = lengths[live] - 1 - s if reverse else np.full(live.size, s)
        c[live], h[live] = step(cell, x[live, t], c[live], h[live])
        y[live, t], cs[live, t] = h[live], c[live]
    return Sequence(y, cs, c, h)


@dataclass(frozen=True)
class Gates:
    """The seven outputs of TensorFlow's LSTM block operations, each [N, H] or [T, N, H]."""

    i: Array
    cs: Array
    f: Array
    o: Array
    ci: Array
    co: Array
    h: Array


def block_step(cell: Cell, x: Array, cs_prev: Array, h_prev: Array) -> Gates:
    """raw_ops.LSTMBlockCell: the gates after their activations as well as the state."""
    x, cs_prev, h_prev = _double(x), _double(cs_prev), _double(h_prev)
    act = ACTIVATIONS[cell.activation]
    gates = np.concatenate([x, h_prev], axis=1) @ _double(cell.kernel) + _double(cell.bias)
    i, j, f, o = np.split(gates, 4, axis=1)
    if cell.w_i_diag is not None:
        i = i + _double(cell.w_i_diag) * cs_prev
        f = f + _double(cell.w_f_diag) * cs_prev
    i, f, ci = sigmoid(i), sigmoid(f + cell.forget_bias), act(j)
    cs = f * cs_prev + i * ci
    if cell.cell_clip is not None:
        cs = _clip(cs, cell.cell_clip)
    if cell.w_o_diag is not None:
        o = o + _double(cell.w_o_diag) * cs
    o, co = sigmoid(o), act(cs)
    return Gates(i, cs, f, o, ci, co, o * co)


def block_sequence(cell: Cell, x: Array, cs_prev: Array, h_prev: Array, steps: int) -> Gates:
    """raw_ops.BlockLSTM on time-major x [T, N, I]; steps from ``steps`` on are zero everywhere."""
    shape = (x.shape[0], x.shape[1], cell.num_units)
    names = ("i", "cs", "f", "o", "ci", "co", "h")
    out = {name: np.zeros(shape) for name in names}
    for t in range(steps):
        gates = block_step(cell, x[t], cs_prev, h_prev)
        cs_prev, h_prev = gates.cs, gates.h
        for name in names:
            out[name][t] = getattr(gates, name)
    return Gates(**out)


def ifco_to_icfo(a: Array) -> Array:
    """Reorder the gate columns of BlockLSTMV2 (i, f, c, o) to those of the cells (i, c, f, o)."""
    i, f, c, o = np.split(a, 4, axis=-1)
    return np.concatenate([i, c, f, o], axis=-1)


def rounded(cell: Cell, dtype: np.dtype | type) -> Cell:
    """The cell with its scalar options rounded to ``dtype``, as a kernel sees them."""

    def as_seen(value: float | None) -> float | None:
        return None if value is None else float(np.dtype(dtype).type(value))

    return replace(
        cell,
        forget_bias=as_seen(cell.forget_bias),
        cell_clip=as_seen(cell.cell_clip),
        proj_clip=as_seen(cell.proj_clip),
    )
