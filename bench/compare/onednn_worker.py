"""oneDNN called natively, without Python between two steps: a worker like the package's engines.

``python onednn_worker.py ENGINE THREADS``, with ONEDNN_LSTM naming the library of
``onednn_lstm.cpp``.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import numpy as np

from lstmcore.benchmark import worker
from lstmcore.benchmark.cases import Array, Case, Inputs, Variant


def _gates(matrix: Array) -> Array:
    """Columns i, j, f, o to i, f, j, o."""
    i, j, f, o = np.split(matrix, 4, axis=-1)
    return np.concatenate([i, f, j, o], axis=-1)


def _pointer(array: Array) -> Any:
    return array.ctypes.data_as(ctypes.c_void_p)


class OneDnn:
    def __init__(self) -> None:
        self._library = ctypes.CDLL(os.environ["ONEDNN_LSTM"])
        self._library.onednn_make.restype = ctypes.c_void_p

    def version(self) -> str:
        return "3.2"

    def variants(self, case: Case, inputs: Inputs, threads: int) -> dict[str, Variant]:
        if case.ragged:
            return {}
        steps, batch, width = inputs.x.shape
        layers, arrays = [], [inputs.x]
        for directions in inputs.layers:
            count = len(directions)
            weights = [
                np.ascontiguousarray([_gates(getattr(d, name)) for d in directions])
                for name in ("W", "R", "b")
            ]
            sizes = (steps, batch, width, case.num_units, count)
            handle = self._library.onednn_make(
                *map(ctypes.c_long, sizes), *(_pointer(w) for w in weights)
            )
            layers.append(ctypes.c_void_p(handle))
            width = case.num_units * count
            arrays.append(np.zeros((steps, batch, width), np.float32))
        run_layer = self._library.onednn_run

        def run(n: int) -> None:
            if case.is_step:
                run_layer(layers[0], _pointer(arrays[0]), _pointer(arrays[1]), ctypes.c_long(n), 1)
                return
            for _ in range(n):
                for layer, x, y in zip(layers, arrays[:-1], arrays[1:], strict=True):
                    run_layer(layer, _pointer(x), _pointer(y), ctypes.c_long(1), 0)

        def output() -> Array:
            return arrays[-1][0] if case.is_step else arrays[-1]

        return {"native": Variant(run, output)}


if __name__ == "__main__":
    answers, sys.stdout = sys.stdout, sys.stderr
    worker.serve(OneDnn, int(sys.argv[2]), sys.stdin, answers)
