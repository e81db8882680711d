"""``LSTM`` on the CPU: all layers in one native call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmcore import _core
from lstmcore.cells.rnn_cell import LSTMStateTuple
from lstmcore.models import arguments
from lstmcore.models.arguments import Call
from lstmcore.models.description import StackLayer


class CpuModel:
    """The packed weights of a model. ``layers`` are pairs (forward, backward), one may be None."""

    def __init__(self, layers: Sequence[StackLayer]) -> None:
        self._layers = layers
        self.layers = [
            (
                layer.forward and layer.forward.native(),
                layer.backward and layer.backward.native(),
            )
            for layer in layers
        ]
        self._stack = _core.Stack(self.layers)
        first = layers[0].cells[0][1]
        self._input_size, self._dtype = first.spec.input_size, first.weights["kernel"].dtype
        self._last = [cell for _, cell in layers[-1].cells]

    @property
    def packed_bytes(self) -> int:
        return sum(lstm.packed_bytes for layer in self.layers for lstm in layer if lstm is not None)

    def __call__(self, x: Any, call: Call) -> Any:
        if call.stream is not None or call.path != "auto":
            raise ValueError("stream and path are for models on a GPU")
        dtype, rank = self._dtype, 3 if call.offsets is None else 2
        values = arguments.checked_input(x, rank, self._input_size, dtype)
        lengths = arguments.integers(call.lengths, "lengths")
        offsets = arguments.integers(call.offsets, "offsets")
        if offsets is not None:
            rows = max(len(offsets) - 1, 0)
        else:
            rows = values.shape[1 if call.time_major else 0]
        cells = None
        if call.outputs in ("c", "hc"):
            width = sum(cell.spec.num_units for cell in self._last)
            cells = np.empty((*values.shape[:-1], width), dtype)
        if call.out is not None and call.outputs == "last":
            arguments.check_out(call.out, (rows, self._layers[-1].output_size), dtype)
        y, final = self._stack.forward(
            values,
            ()
            if call.initial_state is None
            else arguments.checked_state(
                call.initial_state, arguments.zero_state(self._layers, rows)
            ),
            lengths=lengths,
            offsets=offsets,
            time_major=call.time_major,
            out=call.out if call.outputs == "all" else None,
            c_out=cells,
            keep_outputs=call.outputs in ("all", "hc"),
            threads=call.threads,
        )
        result: Any = y
        if call.outputs == "last":
            last = [h for _, h in final[-len(self._last) :]]
            result = np.concatenate(last, axis=1, out=call.out)
        elif call.outputs != "all":
            result = cells if call.outputs == "c" else (y, cells)
        if call.return_state:
            return result, tuple(LSTMStateTuple(c, h) for c, h in final)
        return result
