"""LSTM cells on a GPU: a step or a whole sequence is one call of the CUDA library."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmcore import gpu, nest
from lstmcore.arrays import Array, as_array
from lstmcore.cells.lstm_arguments import checked_inputs
from lstmcore.cells.lstm_base import LSTMCellBase
from lstmcore.cells.numpy_step import StepSettings, StepWeights
from lstmcore.cuda import DeviceArray
from lstmcore.gpu import Gpu, Placement
from lstmcore.layers.input_spec import InputSpec, check_rank

if TYPE_CHECKING:
    from lstmcore.cells.multi_rnn_cell import MultiRNNCell

_NAMES = ("inputs", "outputs", "c of state", "h of state")


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
    ) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
        """(outputs, c, h) for x on the device, [N, I] or a sequence; None for a state of zeros."""
        shape = gpu.shape_of(x)
        step = len(shape) == 2
        rows = shape[0] if step or not time_major else shape[1]
        c_n = self.gpu.empty((rows, self.num_units), stream, self.gpu.wide)
        h_n = self.gpu.empty((rows, self.output_size), stream)
        y = None if step else self.gpu.empty((*shape[:2], self.output_size), stream)
        self._layer.forward(
            x, y, 0, None, 0, c, h, c_n, h_n, lengths, time_major, reverse, 0, stream, _NAMES
        )
        return h_n if y is None else y, c_n, h_n


def run(
    cell: LSTMCellBase,
    inputs: Any,
    state: Any,
    lengths: Array | None = None,
    *,
    step: bool = False,
    time_major: bool = False,
    reverse: bool = False,
) -> tuple[Any, Any, Any]:
    """(outputs, new c, new h) of a built cell with a device.

    Args:
        inputs: [N, I] for a ``step``, else [N, T, I] or [T, N, I]; on the device, or on the host:
            the results are where the inputs are.
        state: (c, h), each on the device or on the host; None for zeros.

    Raises as the cell does on the CPU, and for arrays on the device TypeError and ValueError that
    name the argument.
    """
    on_gpu = cell._on_gpu()
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
    c, h = _state(cell, on_gpu, first, state, stream)
    if not there:
        x = on_gpu.gpu.upload(x, stream)
    results = on_gpu.forward(
        x,
        c,
        h,
        None if lengths is None else lengths.tolist(),
        stream,
        time_major=time_major,
        reverse=reverse,
    )
    if there:
        return results
    y, c, h = results
    host = on_gpu.gpu.to_host(h, on_gpu.host_dtype)
    outputs = host if y is h else on_gpu.gpu.to_host(y, on_gpu.host_dtype)
    return outputs, on_gpu.gpu.to_host(c, on_gpu.host_dtype), host


def run_there(
    cell: MultiRNNCell, inputs: Any, run: Callable[[Any], tuple[Any, Any]]
) -> tuple[Any, Any]:
    """``run(inputs)`` of a built stack, whose inputs go to its GPU once, and results come back."""
    if gpu.is_on_device(inputs):
        return run(inputs)
    leaf: Any = cell
    while not isinstance(leaf, LSTMCellBase):
        leaf = leaf._cells[0] if hasattr(leaf, "_cells") else leaf.cell
    on_gpu = leaf._on_gpu()
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
    if not gpu.any_on_device(state):
        parts = cell._checked(first, state, cell._kernel)[1:]
        c, h = (
            on_gpu.gpu.upload(part, stream, kind) for part, kind in zip(parts, kinds, strict=True)
        )
        return c, h
    if not isinstance(state, (tuple, list)) or len(state) != 2:
        raise ValueError(f"state must be (c, h), received {type(state).__name__}")
    if any(not gpu.is_on_device(part) for part in state):
        stand_ins = tuple(gpu.stand_in(part) for part in state)
        parts = cell._checked(first, stand_ins, cell._kernel)[1:]
        state = [
            given if gpu.is_on_device(given) else on_gpu.gpu.upload(part, stream, kind)
            for given, part, kind in zip(state, parts, kinds, strict=True)
        ]
    return state[0], state[1]


def _zeros(shape: tuple[int, int], on_gpu: CellOnGpu) -> Array:
    """They take no memory."""
    return np.broadcast_to(np.zeros((), on_gpu.host_dtype), shape)
