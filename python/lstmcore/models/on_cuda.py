"""``LSTM`` on a GPU: the layers one after the other, each a call of the CUDA library."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lstmcore import _core, cuda
from lstmcore.arrays import Array
from lstmcore.cells.rnn_cell import LSTMStateTuple
from lstmcore.cuda import DeviceArray
from lstmcore.models import arguments
from lstmcore.models.description import Cell, StackLayer

PATHS = ("auto", "stepwise", "block", "cluster", "grid")
MATHS = ("ieee", "tf32", "tf32x3")
KERNELS = (None, "fma", "mma")  # of a persistent path: plain arithmetic, or tensor cores
# Roles of weights as Cell has them, and as the library does.
_ROLES = {
    "bias": "b",
    "w_i_diag": "p_i",
    "w_f_diag": "p_f",
    "w_o_diag": "p_o",
    "projection": "projection",
}


class CudaCall(NamedTuple):
    """What ``LSTM.__call__`` was given, but for x."""

    lengths: Any
    initial_state: Any
    outputs: str
    return_state: bool
    time_major: bool
    out: Any
    stream: int | None
    path: str


class CudaModel:
    """The layers of a model on one GPU, in one dtype."""

    def __init__(self, layers: Sequence[StackLayer], device: int, dtype: str, math: str) -> None:
        if dtype not in cuda.DTYPES:
            raise ValueError(f"dtype: expected one of {', '.join(cuda.DTYPES)}, got {dtype!r}")
        if math not in MATHS:
            raise ValueError(f"math: expected one of {', '.join(MATHS)}, got {math!r}")
        self.library = cuda.library()
        self.device, self.dtype, self.math = device, dtype, math
        self._context = _core.CudaContext(self.library, device, cuda.cublas_file())
        self._layers = layers
        self._native = [[self._native_layer(cell) for _, cell in layer.cells] for layer in layers]

    def _native_layer(self, cell: Cell) -> _core.CudaLayer:
        weights = {_ROLES[role]: v for role, v in cell.weights.items() if role in _ROLES}
        kernel = cell.weights["kernel"]
        weights["W"], weights["R"] = np.split(kernel, [cell.spec.input_size])
        weights.setdefault("b", np.zeros(kernel.shape[1]))
        spec = {
            **vars(cell.spec),
            "dtype": cuda.DTYPES.index(self.dtype),
            "math": MATHS.index(self.math),
        }
        return _core.CudaLayer(self._context, spec, weights)

    def plan(self, steps: int, batch: int, path: str = "auto") -> list[dict[str, Any]]:
        """How each layer and direction would run: see ``LSTM.plan``."""
        plans = [
            native.plan(steps, batch, _path(path)) for layer in self._native for native in layer
        ]
        return [
            {**plan, "path": PATHS[plan["path"]], "kernel": KERNELS[plan["kernel"]]}
            for plan in plans
        ]

    def __call__(self, x: Any, call: CudaCall) -> Any:
        path = _path(call.path)
        stream = _stream_of(x) if call.stream is None else call.stream
        host = isinstance(x, np.ndarray)
        values = self._to_device(x, stream)
        shape = _shape_of(values, call.time_major)
        states = self._states(call.initial_state, shape[1], stream)
        lengths = arguments.integers(call.lengths, "lengths")
        final: list[LSTMStateTuple] = []
        sequence, cells = values, None
        for k, (layer, natives) in enumerate(zip(self._layers, self._native, strict=True)):
            last = k + 1 == len(self._layers)
            below = sequence
            keep = not last or call.outputs in ("all", "hc")
            sequence = cells = None
            if keep:
                given = call.out if last and call.out is not None and not host else None
                sequence = self._empty(shape, layer.output_size, call.time_major, stream, given)
            if last and call.outputs in ("c", "hc"):
                units = sum(cell.spec.num_units for _, cell in layer.cells)
                cells = self._empty(shape, units, call.time_major, stream, wide=True)
            y_column = c_column = 0
            for (direction, cell), native in zip(layer.cells, natives, strict=True):
                c, h = states[len(final)] if states else (None, None)
                new = LSTMStateTuple(
                    self._array((shape[1], cell.spec.num_units), stream, wide=True),
                    self._array((shape[1], cell.spec.output_size), stream),
                )
                native.forward(
                    below,
                    sequence,
                    y_column,
                    cells,
                    c_column,
                    c,
                    h,
                    *new,
                    None if lengths is None else lengths.tolist(),
                    call.time_major,
                    direction == "backward",
                    path,
                    stream,
                )
                final.append(new)
                y_column += cell.spec.output_size
                c_column += cell.spec.num_units
        return self._results(call, sequence, cells, final, host, x)

    def synchronize(self, stream: int = 0) -> None:
        """Waits for the stream. Raises RuntimeError if a kernel on it failed."""
        self._context.synchronize(stream)

    def _results(
        self, call: CudaCall, y: Any, cells: Any, final: list[LSTMStateTuple], host: bool, x: Any
    ) -> Any:
        state: Any = tuple(final)
        result: Any = {"all": y, "c": cells, "hc": (y, cells)}.get(call.outputs)
        if host:
            state = tuple(LSTMStateTuple(*(self._to_host(a, x) for a in pair)) for pair in final)
            if call.outputs == "hc":
                result = tuple(self._to_host(a, x) for a in (y, cells))
            elif call.outputs != "last":
                result = self._to_host(result, x)
        if call.outputs == "last":
            count = len(self._layers[-1].cells)
            last = [pair.h for pair in state[-count:]]
            if count > 1 and not host:
                raise ValueError(
                    "outputs='last': of two directions on the GPU take the states (return_state)"
                )
            result = np.concatenate(last, axis=1) if host else last[0]
        if host and call.out is not None:
            _check_out(call.out, result)
            call.out[...] = result
            result = call.out
        return (result, state) if call.return_state else result

    def _to_host(self, array: DeviceArray, like: Array) -> Array:
        self._context.synchronize(array.stream)
        return cuda.asnumpy(array, like.dtype)

    def _to_device(self, x: Any, stream: int) -> Any:
        if not isinstance(x, np.ndarray):
            return x
        values = arguments.checked_input(
            x, 3, self._layers[0].cells[0][1].spec.input_size, self._host_dtype()
        )
        return cuda.asarray(values, self.dtype, self.device, stream)

    def _host_dtype(self) -> np.dtype[Any]:
        """Of NumPy arrays that go in and come out."""
        return np.dtype(np.float64 if self.dtype == "float64" else np.float32)

    def _states(self, given: Any, rows: int, stream: int) -> list[tuple[Any, Any]] | None:
        if given is None:
            return None
        cells = [cell for layer in self._layers for _, cell in layer.cells]
        pairs = list(given)
        if len(cells) == 1 and len(pairs) == 2 and hasattr(pairs[0], "shape"):
            pairs = [tuple(pairs)]
        if not any(isinstance(part, np.ndarray) for pair in pairs for part in pair):
            if len(pairs) != len(cells) or any(len(pair) != 2 for pair in pairs):
                raise ValueError(f"initial_state: expected {len(cells)} pairs (c, h)")
            return [tuple(pair) for pair in pairs]
        kind = self._host_dtype()
        zeros = [
            (np.zeros((rows, c.spec.num_units), kind), np.zeros((rows, c.spec.output_size), kind))
            for c in cells
        ]
        wide = "float64" if self.dtype == "float64" else "float32"
        return [
            (
                cuda.asarray(c, wide, self.device, stream),
                cuda.asarray(h, self.dtype, self.device, stream),
            )
            for c, h in arguments.checked_state(pairs, zeros)
        ]

    def _array(self, shape: Sequence[int], stream: int, wide: bool = False) -> DeviceArray:
        dtype = self.dtype if not wide or self.dtype == "float64" else "float32"
        kind = cuda.DTYPES.index(dtype)
        return DeviceArray(self.library, self.device, list(shape), kind, stream)

    def _empty(
        self,
        shape: tuple[int, int],
        width: int,
        time_major: bool,
        stream: int,
        given: Any = None,
        wide: bool = False,
    ) -> Any:
        steps, rows = shape
        wanted = (steps, rows, width) if time_major else (rows, steps, width)
        if given is None:
            return self._array(wanted, stream, wide)
        if tuple(given.shape) != wanted:
            raise ValueError(f"out: expected shape {wanted}, got {tuple(given.shape)}")
        return given


def _shape_of(x: Any, time_major: bool) -> tuple[int, int]:
    """Steps and rows."""
    shape = tuple(getattr(x, "shape", ()))
    if len(shape) != 3:
        raise ValueError(f"x: expected an array [N, T, I] or [T, N, I], got shape {shape}")
    return (shape[0], shape[1]) if time_major else (shape[1], shape[0])


def _check_out(out: Any, result: Array) -> None:
    if not isinstance(out, np.ndarray) or out.shape != result.shape or out.dtype != result.dtype:
        raise ValueError(f"out: expected an array {result.dtype} {result.shape}")


def _path(name: str) -> int:
    if name not in PATHS:
        raise ValueError(f"path: expected one of {', '.join(PATHS)}, got {name!r}")
    return PATHS.index(name)


def _stream_of(x: Any) -> int:
    """The stream that x's library works on now, where it says so; else the default stream."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor) and x.is_cuda:
        return int(torch.cuda.current_stream(x.device).cuda_stream)
    if isinstance(x, DeviceArray):
        return x.stream
    return 0
