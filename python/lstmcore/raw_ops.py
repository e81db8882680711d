"""TensorFlow's fused LSTM operations (TF API: ``tf.raw_ops``), forward pass.

Shapes: N batch, T time, I input depth, H cell size. Gate columns of ``w`` and ``b`` stand in the
order i, c, f, o, in ``BlockLSTMV2`` i, f, c, o. All arguments are keyword arguments, as in
TensorFlow.

Each call packs the weights anew. To run one set of weights many times, use the cell classes, which
keep them packed.
"""

from __future__ import annotations

import numbers
from typing import Any, NamedTuple

import numpy as np

from lstmcore import _core
from lstmcore.arrays import Array, as_array, as_kernel_array
from lstmcore.errors import InvalidArgumentError

_FLOAT = np.dtype(np.float32)


class LSTMBlockOutputs(NamedTuple):
    """Results of the block operations, each [N, H], or [T, N, H] from the sequence operations.

    i, f, o: gates after the sigmoid (f includes the forget bias); ci: tanh of the candidate;
    cs: clipped cell state; co: tanh(cs); h: o * co.
    """

    i: Array
    cs: Array
    f: Array
    o: Array
    ci: Array
    co: Array
    h: Array


def LSTMBlockCell(
    *,
    x: Any,
    cs_prev: Any,
    h_prev: Any,
    w: Any,
    wci: Any,
    wcf: Any,
    wco: Any,
    b: Any,
    forget_bias: float | None = 1,
    cell_clip: float | None = 3,
    use_peephole: bool | None = False,
    name: str | None = None,
) -> LSTMBlockOutputs:
    """One time step. x [N, I], cs_prev and h_prev [N, H], w [I+H, 4H], b [4H], wci, wcf, wco [H].

    ``cell_clip`` clips the cell state and is 3 unless given, as in TensorFlow; 0 or less disables.
    The peephole weights count only with ``use_peephole``. ``name`` has no meaning here.
    All arrays float32; others are converted to float32 where x has it.

    Raises InvalidArgumentError for shapes or dtypes, TypeError for float16 and for options that are
    no numbers.
    """
    arrays = _as_floats(x=x, cs_prev=cs_prev, h_prev=h_prev, w=w, wci=wci, wcf=wcf, wco=wco, b=b)
    for argument, rank in _RANKS.items():
        if arrays[argument].ndim != rank:
            raise InvalidArgumentError(
                f"{argument}_tensor must be rank {rank} but is rank {arrays[argument].ndim}."
            )
    rows, width = arrays["x"].shape
    _check_sizes(arrays, rows, width)
    cell_size = arrays["cs_prev"].shape[1]
    if not rows or not cell_size:
        raise InvalidArgumentError(f"cs_prev_tensor is empty, has shape: ({rows},{cell_size}).")
    peephole = _as_bool(use_peephole, "use_peephole", default=False)
    if peephole:
        _check_peepholes(arrays)
    cell = _pack(
        arrays,
        forget_bias=_as_float(forget_bias, "forget_bias", default=1.0),
        cell_clip=_as_float(cell_clip, "cell_clip", default=3.0),
        peephole=peephole,
    )
    outputs = cell.forward_gates(arrays["x"][None], arrays["cs_prev"], arrays["h_prev"], 1)
    return LSTMBlockOutputs(*(output[0] for output in outputs))


def BlockLSTM(
    *,
    seq_len_max: Any,
    x: Any,
    cs_prev: Any,
    h_prev: Any,
    w: Any,
    wci: Any,
    wcf: Any,
    wco: Any,
    b: Any,
    forget_bias: float | None = 1,
    cell_clip: float | None = 3,
    use_peephole: bool | None = False,
    name: str | None = None,
) -> LSTMBlockOutputs:
    """The first ``seq_len_max`` time steps of x [T, N, I]; other arguments as for LSTMBlockCell.

    ``seq_len_max`` is one integer in 0..T for the whole batch. Steps from there on are zero in all
    seven results (TensorFlow leaves five of them uninitialised).

    Raises InvalidArgumentError for shapes, dtypes or a ``seq_len_max`` out of range, TypeError for
    float16, a ``seq_len_max`` that is no integer, and options that are no numbers.
    """
    arrays = _as_floats(x=x, cs_prev=cs_prev, h_prev=h_prev, w=w, wci=wci, wcf=wcf, wco=wco, b=b)
    return _run_sequence(
        arrays,
        seq_len_max,
        forget_bias=_as_float(forget_bias, "forget_bias", default=1.0),
        cell_clip=_as_float(cell_clip, "cell_clip", default=3.0),
        peephole=_as_bool(use_peephole, "use_peephole", default=False),
    )


def BlockLSTMV2(
    *,
    seq_len_max: Any,
    x: Any,
    cs_prev: Any,
    h_prev: Any,
    w: Any,
    wci: Any,
    wcf: Any,
    wco: Any,
    b: Any,
    cell_clip: float | None = 0,
    use_peephole: bool | None = False,
    name: str | None = None,
) -> LSTMBlockOutputs:
    """BlockLSTM with gate columns i, f, c, o, no forget bias, and no clipping unless asked for."""
    arrays = _as_floats(x=x, cs_prev=cs_prev, h_prev=h_prev, w=w, wci=wci, wcf=wcf, wco=wco, b=b)
    return _run_sequence(
        arrays,
        seq_len_max,
        forget_bias=0.0,
        cell_clip=_as_float(cell_clip, "cell_clip", default=0.0),
        peephole=_as_bool(use_peephole, "use_peephole", default=False),
        columns="ifco",
    )


_RANKS = {"x": 2, "cs_prev": 2, "h_prev": 2, "w": 2, "wci": 1, "wcf": 1, "wco": 1, "b": 1}


def _run_sequence(
    arrays: dict[str, Array],
    seq_len_max: Any,
    *,
    forget_bias: float,
    cell_clip: float,
    peephole: bool,
    columns: str = "icfo",
) -> LSTMBlockOutputs:
    for argument, rank in {**_RANKS, "x": 3}.items():
        if arrays[argument].ndim != rank:
            raise InvalidArgumentError(
                f"{argument} must be {rank}D: it has shape {arrays[argument].shape}"
            )
    steps, rows, width = arrays["x"].shape
    _check_sizes(arrays, rows, width)
    _check_peepholes(arrays)
    live_steps = _as_steps(seq_len_max, steps)
    if columns == "ifco":
        arrays["w"], arrays["b"] = _ifco_to_icfo(arrays["w"]), _ifco_to_icfo(arrays["b"])
    cell = _pack(arrays, forget_bias=forget_bias, cell_clip=cell_clip, peephole=peephole)
    outputs = cell.forward_gates(arrays["x"], arrays["cs_prev"], arrays["h_prev"], live_steps)
    return LSTMBlockOutputs(*outputs)


def _pack(
    arrays: dict[str, Array], *, forget_bias: float, cell_clip: float, peephole: bool
) -> _core.Lstm:
    return _core.Lstm(
        arrays["w"],
        arrays["b"],
        num_units=arrays["cs_prev"].shape[1],
        w_i_diag=arrays["wci"] if peephole else None,
        w_f_diag=arrays["wcf"] if peephole else None,
        w_o_diag=arrays["wco"] if peephole else None,
        forget_bias=forget_bias,
        cell_clip=cell_clip if cell_clip > 0 else None,
    )


def _ifco_to_icfo(a: Array) -> Array:
    i, f, c, o = np.split(a, 4, axis=-1)
    return np.concatenate([i, c, f, o], axis=-1)


def _as_floats(**values: Any) -> dict[str, Array]:
    """The arguments as float32 kernel arrays. x alone decides whether the type is one we run."""
    arrays = {argument: _as_array(value, argument) for argument, value in values.items()}
    dtype = arrays["x"].dtype.newbyteorder("=")
    if dtype == np.float16:
        raise TypeError("x has dtype float16, which is not supported: use float32")
    if dtype != _FLOAT:
        name = "double" if dtype == np.float64 else dtype.name
        raise InvalidArgumentError(
            f"Value for attr 'T' of {name} is not in the list of allowed values: half, float "
            "(x decides T; lstmcore runs float)"
        )
    return {argument: as_kernel_array(array, _FLOAT) for argument, array in arrays.items()}


def _as_array(value: Any, argument: str) -> Array:
    if value is None:
        raise ValueError(
            "Attempt to convert a value (None) with an unsupported type (<class 'NoneType'>) to a "
            f"Tensor: argument {argument}"
        )
    if isinstance(value, (list, tuple, numbers.Real)):
        return np.asarray(value, _FLOAT)
    return as_array(value, argument)


def _check_sizes(arrays: dict[str, Array], rows: int, width: int) -> None:
    cell_size = arrays["cs_prev"].shape[1]
    sizes = (
        ("cs_prev.dims(0) != batch_size", arrays["cs_prev"].shape[0], rows),
        ("h_prev.dims(0) != batch_size", arrays["h_prev"].shape[0], rows),
        ("h_prev.dims(1) != cell_size", arrays["h_prev"].shape[1], cell_size),
        ("w.dim_size(0) != input_size + cell_size", arrays["w"].shape[0], width + cell_size),
        ("w.dim_size(1) != cell_size * 4", arrays["w"].shape[1], cell_size * 4),
        ("b.dim_size(0) != cell_size * 4", arrays["b"].shape[0], cell_size * 4),
    )
    for text, actual, expected in sizes:
        if actual != expected:
            raise InvalidArgumentError(f"{text}: {actual} vs. {expected}")


def _check_peepholes(arrays: dict[str, Array]) -> None:
    cell_size = arrays["cs_prev"].shape[1]
    for argument in ("wci", "wcf", "wco"):
        actual = arrays[argument].shape[0]
        if actual != cell_size:
            raise InvalidArgumentError(
                f"{argument}.dim_size(0) != cell_size: {actual} vs. {cell_size}"
            )


def _as_steps(value: Any, steps: int) -> int:
    array = np.asarray(value)
    if array.ndim:
        raise InvalidArgumentError(f"`seq_len_max_tensor` must be rank 0 but is rank {array.ndim}")
    if array.dtype.kind not in "biu" and not isinstance(
        value, int
    ):  # one beyond 64 bits is an object
        raise TypeError(f"seq_len_max must be an integer, received {value!r}")
    live = int(array)
    if not 0 <= live <= steps:
        raise InvalidArgumentError(f"seq_len_max must be between 0 and {steps} but is {live}")
    return live


def _as_float(value: Any, argument: str, *, default: float) -> float:
    if value is None:
        return default
    if not isinstance(value, (numbers.Real, np.number)) or isinstance(value, np.complexfloating):
        raise TypeError(f"Expected float for argument '{argument}' not {value!r}.")
    return float(value)


def _as_bool(value: Any, argument: str, *, default: bool) -> bool:
    if value is None:
        return default
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"Expected bool for argument '{argument}' not {value!r}.")
    return bool(value)
