"""``LSTM`` on a GPU: the layers one after the other, each a call of the CUDA library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lstmcore import gpu
from lstmcore.arrays import Array
from lstmcore.cells.rnn_cell import LSTMStateTuple
from lstmcore.gpu import Gpu
from lstmcore.models import arguments
from lstmcore.models.arguments import Call
from lstmcore.models.description import Cell, StackLayer
from lstmcore.placement import Placement

# Roles of weights as Cell has them, and as the library does.
_ROLES = {
    "bias": "b",
    "w_i_diag": "p_i",
    "w_f_diag": "p_f",
    "w_o_diag": "p_o",
    "projection": "projection",
}


class _Sequence(NamedTuple):
    """x on the device, [N, T, I] or [T, N, I], and what goes with it."""

    x: Any
    time_major: bool
    lengths: list[int] | None
    offsets: list[int] | None  # where x was packed
    stream: int
    path: int

    @property
    def rows(self) -> int:
        return gpu.shape_of(self.x)[1 if self.time_major else 0]


class _Results(NamedTuple):
    """On the device: outputs and cell states at each step, where wanted; the final state."""

    y: Any
    c: Any
    final: list[LSTMStateTuple]


class CudaModel:
    """The layers of a model on one GPU, in one dtype.

    Raises RuntimeError with the reason where the GPU cannot be used, MemoryError.
    """

    def __init__(self, layers: Sequence[StackLayer], where: Placement) -> None:
        self.where = where
        self._layers = layers
        self._cells = [cell for layer in layers for _, cell in layer.cells]
        self.gpu = Gpu(where, self._cells[0].weights["kernel"].dtype.name, shared=False)
        self._native = [[self._native_layer(cell) for _, cell in layer.cells] for layer in layers]

    def _native_layer(self, cell: Cell) -> Any:
        weights = {_ROLES[role]: v for role, v in cell.weights.items() if role in _ROLES}
        weights["W"], weights["R"] = np.split(cell.weights["kernel"], [cell.spec.input_size])
        return self.gpu.layer(cell.spec.as_dict(), weights)

    @property
    def host_dtype(self) -> np.dtype[Any]:
        """Of NumPy arrays that go in and come out."""
        return np.dtype(self.gpu.wide)

    def plan(self, steps: int, batch: int, path: str = "auto") -> list[dict[str, Any]]:
        """How each layer and direction would run: see ``LSTM.plan``."""
        number = gpu.path_number(path)
        plans = [native.plan(steps, batch, number) for layer in self._native for native in layer]
        return [
            {**plan, "path": gpu.PATHS[plan["path"]], "kernel": gpu.KERNELS[plan["kernel"]]}
            for plan in plans
        ]

    def synchronize(self, stream: int = 0) -> None:
        """Waits for the stream. Raises RuntimeError if a kernel on it failed."""
        self.gpu.context.synchronize(gpu.stream_number(stream))

    def __call__(self, x: Any, call: Call) -> Any:
        host = not gpu.is_on_device(x)
        sequence = self._sequence(x, host, call)
        states = self._states(call.initial_state, sequence.rows, sequence.stream)
        width = self._layers[-1].output_size
        if call.out is not None:
            self._check_out(call, host, (*gpu.shape_of(x)[:-1], width), (sequence.rows, width))
            if not host:
                self._check_apart(call.out, x, states, sequence.stream)
        whole = call.out if call.outputs == "all" and not host and call.offsets is None else None
        results = self._run(sequence, states, call.outputs, whole)
        return self._returned(results, sequence, host, call)

    def _sequence(self, x: Any, host: bool, call: Call) -> _Sequence:
        path = gpu.path_number(call.path)
        if call.stream is not None:
            stream = gpu.stream_number(call.stream)
        else:
            stream = 0 if host else gpu.stream_of(x)
        rank = 3 if call.offsets is None else 2
        lengths, offsets = (
            arguments.integers(gpu.integers_of(value, name), name)
            for value, name in ((call.lengths, "lengths"), (call.offsets, "offsets"))
        )
        if lengths is not None and offsets is not None:
            raise ValueError("lengths and offsets exclude each other")
        if host:
            size = self._cells[0].spec.input_size
            x = self.gpu.upload(arguments.checked_input(x, rank, size, self.host_dtype), stream)
        elif len(gpu.shape_of(x)) != rank:
            axes = "[total, I]" if rank == 2 else "[N, T, I] or [T, N, I]"
            raise ValueError(f"x: expected an array {axes}, got shape {gpu.shape_of(x)}")
        if offsets is None:
            given = None if lengths is None else lengths.tolist()
            return _Sequence(x, call.time_major, given, None, stream, path)
        positions = offsets.tolist()
        padded = self.gpu.pad(x, positions, stream, "x")
        return _Sequence(padded, False, np.diff(offsets).tolist(), positions, stream, path)

    def _run(self, sequence: _Sequence, states: Any, outputs: str, out: Any) -> _Results:
        """``out``: an array on the device for the outputs of the last layer."""
        stream, lead = sequence.stream, gpu.shape_of(sequence.x)[:2]
        final: list[LSTMStateTuple] = []
        x, y, c_seq = sequence.x, None, None
        for k, (layer, natives) in enumerate(zip(self._layers, self._native, strict=True)):
            last = k + 1 == len(self._layers)
            y = out if last else None
            if y is None and (not last or outputs in ("all", "hc")):
                y = self.gpu.empty((*lead, layer.output_size), stream)
            if last and outputs in ("c", "hc"):
                units = sum(cell.spec.num_units for _, cell in layer.cells)
                c_seq = self.gpu.empty((*lead, units), stream, self.gpu.wide)
            y_column = c_column = 0
            for (direction, cell), native in zip(layer.cells, natives, strict=True):
                spec, number = cell.spec, len(final)
                new = LSTMStateTuple(
                    self.gpu.empty((sequence.rows, spec.num_units), stream, self.gpu.wide),
                    self.gpu.empty((sequence.rows, spec.output_size), stream),
                )
                names = [f"initial_state[{number}].{part}" for part in "ch"]
                native.forward(
                    x,
                    y,
                    y_column,
                    c_seq,
                    c_column,
                    *(states[number] if states else (None, None)),
                    *new,
                    sequence.lengths,
                    sequence.time_major,
                    direction == "backward",
                    sequence.path,
                    stream,
                    ("x", "out", *names),
                )
                final.append(new)
                y_column += spec.output_size
                c_column += spec.num_units
            x = y
        return _Results(y, c_seq, final)

    def _returned(self, results: _Results, sequence: _Sequence, host: bool, call: Call) -> Any:
        out = None if host else call.out
        y, c = results.y, results.c
        if sequence.offsets is not None:
            y, c = (
                array if array is None else self.gpu.unpad(array, sequence.offsets, stream, into)
                for array, stream, into in (
                    (y, sequence.stream, out if call.outputs == "all" else None),
                    (c, sequence.stream, None),
                )
            )
        if call.outputs == "last":
            y = self._last(results.final, sequence, out)
        result: Any = {"c": c, "hc": (y, c)}.get(call.outputs, y)
        state = tuple(results.final)
        if host:
            result = self._to_host(result)
            state = tuple(LSTMStateTuple(*self._to_host(tuple(pair))) for pair in state)
            if call.out is not None:
                call.out[...] = result
                result = call.out
        return (result, state) if call.return_state else result

    def _last(self, final: list[LSTMStateTuple], sequence: _Sequence, out: Any) -> Any:
        """h of the last layer, both directions side by side; [N, P]."""
        parts = [pair.h for pair in final[-len(self._layers[-1].cells) :]]
        if out is None and len(parts) == 1:
            return parts[0]
        if out is None:
            return gpu.side_by_side(parts)
        column = 0
        for part in parts:
            self.gpu.copy_columns(out, column, part, sequence.stream)
            column += part.shape[1]
        return out

    def _to_host(self, result: Any) -> Any:
        if isinstance(result, tuple):
            return tuple(self._to_host(array) for array in result)
        return self.gpu.to_host(result, self.host_dtype)

    def _check_out(
        self, call: Call, host: bool, all_shape: tuple[int, ...], last: tuple[int, int]
    ) -> None:
        wanted = all_shape if call.outputs == "all" else last
        if host:
            arguments.check_out(call.out, wanted, self.host_dtype)
        elif not gpu.is_on_device(call.out):
            raise TypeError(
                f"out: expected an array on {self.where.device} as x is, got "
                f"{type(call.out).__name__}"
            )
        elif gpu.shape_of(call.out) != wanted:
            raise ValueError(f"out: expected shape {wanted}, got {gpu.shape_of(call.out)}")

    def _check_apart(self, out: Any, x: Any, states: Any, stream: int) -> None:
        """That no direction writes what another one, or a later chunk of steps, has yet to read."""
        parts = {
            f"initial_state[{number}].{name}": part
            for number, pair in enumerate(states or ())
            for name, part in zip("ch", pair, strict=True)
        }
        self.gpu.check_apart(out, {"x": x, **parts}, stream)

    def _states(self, given: Any, rows: int, stream: int) -> list[tuple[Any, Any]] | None:
        """Pairs (c, h) on the device; parts may come from there or from the host."""
        if given is None:
            return None
        kind = self.host_dtype
        zeros = [
            tuple(np.broadcast_to(np.zeros((), kind), (rows, width)) for width in widths)
            for widths in ((c.spec.num_units, c.spec.output_size) for c in self._cells)
        ]
        pairs = arguments.state_pairs(given, len(zeros))
        like = [[gpu.stand_in(part, kind) for part in pair] for pair in pairs]
        checked = arguments.checked_state(like, zeros, dense=False)
        return [
            (
                self._state_part(given_c, c, self.gpu.wide, stream),
                self._state_part(given_h, h, self.gpu.dtype, stream),
            )
            for (given_c, given_h), (c, h) in zip(pairs, checked, strict=True)
        ]

    def _state_part(self, given: Any, checked: Array, dtype: str, stream: int) -> Any:
        if gpu.is_on_device(given):
            return given
        return self.gpu.upload(checked, stream, dtype)
