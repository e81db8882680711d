"""Checks of what ``LSTM`` is called with: errors name the argument, what is wanted, what came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lstmcore.arrays import Array, as_array
from lstmcore.cells.rnn_cell import LSTMStateTuple
from lstmcore.models.description import StackLayer

OUTPUTS = ("all", "last", "c", "hc")


class Call(NamedTuple):
    """What ``LSTM.__call__`` was given, but for x."""

    lengths: Any
    initial_state: Any
    outputs: str
    return_state: bool
    time_major: bool
    offsets: Any
    out: Any
    threads: int | None
    stream: int | None
    path: str


def check_outputs(outputs: Any, out: Any) -> None:
    if outputs not in OUTPUTS:
        raise ValueError(f"outputs must be one of {', '.join(OUTPUTS)}, got {outputs!r}")
    if out is not None and outputs not in ("all", "last"):
        raise ValueError(f"out: only for outputs='all' and 'last', got outputs={outputs!r}")


def checked_input(x: Any, rank: int, input_size: int, dtype: Any) -> Array:
    values = as_array(x, "x")
    if values.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"x: expected {dtype}, got {values.dtype}; convert with x.astype(...)")
    if values.ndim != rank or values.shape[-1] != input_size:
        axes = "total" if rank == 2 else "batch, time"
        raise ValueError(
            f"x: expected shape ({axes}, {input_size}), got {values.shape}"
            + (". For a single sequence pass x[None]" if values.ndim == 2 and rank == 3 else "")
        )
    return np.require(values, dtype, ("C", "A"))


def zero_state(layers: Sequence[StackLayer], rows: int) -> tuple[LSTMStateTuple, ...]:
    """Zeros (c [N, H], h [N, P]) for each layer and direction, in the dtype of the weights."""
    cells = [cell for layer in layers for _, cell in layer.cells]
    dtype = cells[0].weights["kernel"].dtype
    return tuple(
        LSTMStateTuple(
            np.zeros((rows, cell.spec.num_units), dtype),
            np.zeros((rows, cell.spec.output_size), dtype),
        )
        for cell in cells
    )


def state_pairs(state: Any, count: int) -> list[Any]:
    """``count`` pairs of what should be arrays; a single pair alone will do for one."""
    form = f"initial_state: expected {count} pairs (c, h), one per layer and direction"
    if not isinstance(state, (tuple, list)):
        raise TypeError(f"{form}, got {type(state).__name__}")
    pairs = list(state)
    if count == 1 and len(pairs) == 2 and hasattr(pairs[0], "shape"):
        pairs = [tuple(pairs)]
    if len(pairs) != count or any(
        not isinstance(pair, (tuple, list)) or len(pair) != 2 for pair in pairs
    ):
        raise ValueError(f"{form}, got {len(pairs)} parts of another form")
    return pairs


def checked_state(
    state: Any, like: Sequence[tuple[Array, ...]], *, dense: bool = True
) -> list[tuple[Array, Array]]:
    """``dense``: as the kernels of the CPU take them."""
    dtype = like[0][0].dtype
    pairs = state_pairs(state, len(like))
    checked = []
    for k, (pair, zeros) in enumerate(zip(pairs, like, strict=True)):
        parts = []
        for name, part, zero in zip("ch", pair, zeros, strict=True):
            array = as_array(part, f"initial_state[{k}].{name}")
            if array.dtype.newbyteorder("=") != dtype:
                raise TypeError(f"initial_state[{k}].{name}: expected {dtype}, got {array.dtype}")
            if array.shape != zero.shape:
                raise ValueError(
                    f"initial_state[{k}].{name}: expected shape {zero.shape}, got {array.shape}"
                )
            parts.append(np.require(array, dtype, ("C", "A")) if dense else array)
        checked.append((parts[0], parts[1]))
    return checked


def integers(value: Any, argument: str) -> Array | None:
    if value is None:
        return None
    array = np.asarray(value) if isinstance(value, (list, tuple)) else as_array(value, argument)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise ValueError(f"{argument}: expected integers [N], got {array.dtype} {array.shape}")
    return np.ascontiguousarray(array, np.int64)


def check_out(out: Any, shape: tuple[int, ...], dtype: Any) -> None:
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != dtype:
        got = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f"out: expected an array {dtype} {shape}, got {got}")
    if not out.flags.writeable:
        raise ValueError("out: expected a writable array")
