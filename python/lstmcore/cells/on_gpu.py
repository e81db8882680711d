"""LSTM cells on a GPU: a step or a whole sequence is one call of the CUDA library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lstmcore import gpu, nest
from lstmcore.arrays import Array, as_array
from lstmcore.cells.lstm_arguments import checked_inputs
from lstmcore.cells.lstm_base import OUT_NAMES, LSTMCellBase
from lstmcore.cells.numpy_step import StepSettings, StepWeights
from lstmcore.gpu import Gpu
from lstmcore.layers.input_spec import InputSpec, check_rank
from lstmcore.placement import Placement

_NAMES = ("inputs", "outputs", "c of state", "h of state", *OUT_NAMES)


class CellOnGpu:
    """The weights that a cell had at one time, packed on its GPU.

    Raises ValueError for sizes that no kernel takes, RuntimeError and MemoryError as ``Gpu``.
    """

    def __init__(
        self,
        where: Placement,
        num_units: int,
        activation: str,
        settings: StepSettings,
        weights: StepWeights,
    ) -> None:
        self.host_dtype = weights.kernel.dtype
        self.num_units = num_units
        projection = weights.proj_kernel
        self.output_size = num_units if projection is None else projection.shape[1]
        depth = weights.kernel.shape[0] - self.output_size
        if depth < 1 or num_units < 1:
            raise ValueError(
                f"inputs, num_units: expected at least 1 of each on a GPU, got {depth}, {num_units}"
            )
        self.gpu = Gpu(where, self.host_dtype.name, shared=True)
        spec = {
            "input_size": depth,
            "num_units": num_units,
            "num_proj": None if projection is None else self.output_size,
            "use_peepholes": weights.w_i_diag is not None,
            "activation": activation,
            "recurrent_activation": "sigmoid",
            **settings._asdict(),
        }
        W, R = np.split(weights.kernel, [depth])
        arrays = {
            "W": W,
            "R": R,
            "b": weights.bias,
            "p_i": weights.w_i_diag,
            "p_f": weights.w_f_diag,
            "p_o": weights.w_o_diag,
            "projection": projection,
        }
        self._layer = self.gpu.layer(spec, {k: v for k, v in arrays.items() if v is not None})

    def forward(
        self,
        x: Any,
        c: Any,
        h: Any,
        lengths: list[int] | None,
        stream: int,
        *,
        time_major: bool,
        reverse: bool,
        out: tuple[Any, Any] | None = None,
    ) -> tuple[Any, Any, Any]:
        """(outputs, c, h) for x on the device, [N, I] or a sequence; None for a state of zeros.

        ``out``: arrays on the device for c and h.
        """
        shape = gpu.shape_of(x)
        step = len(shape) == 2
        rows = shape[0] if step or not time_major else shape[1]
        c_n, h_n = out or (
            self.gpu.empty((rows, self.num_units), stream, self.gpu.wide),
            self.gpu.empty((rows, self.output_size), stream),
        )
        y = None if step else self.gpu.empty((*shape[:2], self.output_size), stream)
        self._layer.forward(
            x, y, 0, None, 0, c, h, c_n, h_n, lengths, time_major, reverse, 0, stream, _NAMES
        )
        return h_n if y is None else y, c_n, h_n


def run(
    cell: LSTMCellBase,
    where: Placement,
    inputs: Any,
    state: Any,
    lengths: Array | None = None,
    *,
    step: bool = False,
    time_major: bool = False,
    reverse: bool = False,
    out: tuple[Any, Any] | None = None,
) -> tuple[Any, Any, Any]:
    """(outputs, new c, new h) of a built cell on a GPU.

    Args:
        inputs: [N, I] for a ``step``, else [N, T, I] or [T, N, I]; on the device, or on the host:
            the results are where the inputs are.
        state: (c, h), or one array where the cell's state is one, on the device or on the host;
            None for zeros.
        out: arrays for c and h, where the inputs are.

    Raises as the cell does on the CPU, and for arrays on the device TypeError and ValueError that
    name the argument.
    """
    on_gpu = cell._on_gpu(where)
    there = gpu.is_on_device(inputs)
    stream = gpu.stream_of(inputs) if there else 0
    x = inputs if there else as_array(inputs, "inputs")
    spec = InputSpec(ndim=2 if step else 3)
    check_rank(spec, gpu.shape_of(x), cell.name)
    if not there:
        x = checked_inputs(x, cell._kernel, cell.name, spec)
    shape = gpu.shape_of(x)
    rows = shape[0] if step or not time_major else shape[1]
    first = x if step and not there else _zeros((rows, shape[-1]), on_gpu)
    if out is not None and not there:
        _check_host_out(out, on_gpu, rows, [x, *nest.flatten(state)])
    c, h = _state(cell, on_gpu, first, state, stream)
    results = on_gpu.forward(
        x if there else on_gpu.gpu.upload(x, stream),
        c,
        h,
        None if lengths is None else lengths.tolist(),
        stream,
        time_major=time_major,
        reverse=reverse,
        out=out if there else None,
    )
    if there:
        return results
    y, c, h = results
    host = on_gpu.gpu.to_host(h, on_gpu.host_dtype)
    outputs = host if y is h else on_gpu.gpu.to_host(y, on_gpu.host_dtype)
    new_c = on_gpu.gpu.to_host(c, on_gpu.host_dtype)
    if out is None:
        return outputs, new_c, host
    out[0][...], out[1][...] = new_c, host
    return out[1], *out


def run_there(
    cell: Any, where: Placement, inputs: Any, run: Callable[[Any], tuple[Any, Any]]
) -> tuple[Any, Any]:
    """``run(inputs)`` of a built cell, whose inputs go to the GPU once, and results come back."""
    if gpu.is_on_device(inputs):
        return run(inputs)
    leaf = cell
    while not isinstance(leaf, LSTMCellBase):
        leaf = leaf._cells[0] if hasattr(leaf, "_cells") else leaf.cell
    on_gpu = leaf._on_gpu(where)
    x = checked_inputs(
        as_array(inputs, "inputs"), leaf._kernel, leaf.name, InputSpec(ndim=np.ndim(inputs))
    )
    results = run(on_gpu.gpu.upload(x, 0))
    outputs, state = nest.map_structure(
        lambda array: on_gpu.gpu.to_host(array, on_gpu.host_dtype), results
    )
    return outputs, state


def _state(
    cell: LSTMCellBase, on_gpu: CellOnGpu, first: Array, state: Any, stream: int
) -> tuple[Any, Any]:
    """c and h on the device, for inputs ``first`` [N, I] on the host; None for zeros."""
    if state is None:
        return None, None
    kinds = (on_gpu.gpu.wide, on_gpu.gpu.dtype)
    if cell._state_is_tuple and (not isinstance(state, (tuple, list)) or len(state) != 2):
        if gpu.any_on_device(state):
            raise ValueError(f"state must be (c, h), received {type(state).__name__}")
    elif cell._state_is_tuple and all(gpu.is_on_device(part) for part in state):
        return state[0], state[1]
    parts = cell._checked(first, nest.map_structure(gpu.stand_in, state), cell._kernel)[1:]
    if not cell._state_is_tuple and gpu.is_on_device(state):
        H = on_gpu.num_units
        return (
            gpu.columns(state, 0, H, stream, "state", kinds[0]),
            gpu.columns(state, H, on_gpu.output_size, stream, "state", kinds[1]),
        )
    given = state if cell._state_is_tuple else parts
    c, h = (
        each if gpu.is_on_device(each) else on_gpu.gpu.upload(part, stream, kind)
        for each, part, kind in zip(given, parts, kinds, strict=True)
    )
    return c, h


def _check_host_out(out: tuple[Any, Any], on_gpu: CellOnGpu, rows: int, inputs: list[Any]) -> None:
    """What the kernels of the CPU ask of ``out``."""
    dtype = on_gpu.host_dtype
    for part, name, width in zip(
        out, OUT_NAMES, (on_gpu.num_units, on_gpu.output_size), strict=True
    ):
        expected = f"{name}: expected a {dtype} array of shape ({rows}, {width})"
        if type(part) is not np.ndarray:
            raise TypeError(f"{expected} where the inputs are, got {type(part).__name__}")
        if part.dtype != dtype:
            raise TypeError(f"{expected}, got dtype {part.dtype}")
        if part.shape != (rows, width):
            raise ValueError(f"{expected}, got shape {part.shape}")
        if not (part.flags.c_contiguous and part.flags.writeable and part.flags.aligned):
            raise ValueError(f"{expected}, C-contiguous, aligned and writable")
    if any(
        isinstance(other, np.ndarray) and np.may_share_memory(out[1], other)
        for other in (out[0], *inputs)
    ):
        raise ValueError(f"{OUT_NAMES[1]} may not share memory with another array")


def _zeros(shape: tuple[int, int], on_gpu: CellOnGpu) -> Array:
    """They take no memory."""
    return np.broadcast_to(np.zeros((), on_gpu.host_dtype), shape)
