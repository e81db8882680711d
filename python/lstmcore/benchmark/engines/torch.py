"""PyTorch: nn.LSTMCell and nn.LSTM, and the oneDNN layer operation with weights packed once."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch

from lstmcore.benchmark.cases import Array, Case, Direction, Inputs, Variant


def _gates(matrix: Array) -> torch.Tensor:
    """Columns i, j, f, o to rows i, f, g, o."""
    i, j, f, o = np.split(matrix, 4, axis=-1)
    return torch.from_numpy(np.ascontiguousarray(np.concatenate([i, f, j, o], axis=-1).T))


def _load(module: Any, weights: Direction, suffix: str = "") -> None:
    state = {
        f"weight_ih{suffix}": _gates(weights.W),
        f"weight_hh{suffix}": _gates(weights.R),
        f"bias_ih{suffix}": _gates(weights.b),
        f"bias_hh{suffix}": torch.zeros(len(weights.b)),
    }
    with torch.no_grad():
        for name, value in state.items():
            getattr(module, name).copy_(value)


def version() -> str:
    return str(torch.__version__)


def variants(case: Case, inputs: Inputs, threads: int) -> dict[str, Variant]:
    torch.set_num_threads(threads)
    if case.is_step:
        return _steps(case, inputs)
    found = {"nn.LSTM": _sequences(case, inputs)}
    if case.layers == 1 and not case.bidirectional and not case.ragged:
        # an internal operation, which versions may lack
        with contextlib.suppress(AttributeError, RuntimeError, TypeError):
            found["oneDNN layer, packed"] = _packed(case, inputs)
    return found


def _steps(case: Case, inputs: Inputs) -> dict[str, Variant]:
    cell = torch.nn.LSTMCell(case.input_size, case.num_units).eval()
    _load(cell, inputs.layers[0][0])
    x = torch.from_numpy(inputs.x[0].copy())
    zeros = torch.zeros(case.batch, case.num_units)
    with torch.inference_mode():
        traced = torch.jit.freeze(torch.jit.trace(cell, (x, (zeros, zeros))))

    def variant(function: Any) -> Variant:
        state = (zeros, zeros)

        def run(n: int) -> None:
            nonlocal state
            with torch.inference_mode():
                for _ in range(n):
                    state = function(x, state)

        return Variant(run, lambda: state[0].numpy())

    return {"LSTMCell": variant(cell), "LSTMCell, frozen": variant(traced)}


def _sequences(case: Case, inputs: Inputs) -> Variant:
    module = torch.nn.LSTM(
        case.input_size, case.num_units, case.layers, bidirectional=case.bidirectional
    ).eval()
    for k, directions in enumerate(inputs.layers):
        for weights, suffix in zip(directions, ("", "_reverse"), strict=False):
            _load(module, weights, f"_l{k}{suffix}")
    x: Any = torch.from_numpy(inputs.x)
    if inputs.lengths is not None:
        x = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.from_numpy(inputs.lengths), enforce_sorted=False
        )
    y: Any = None

    def run(n: int) -> None:
        nonlocal y
        with torch.inference_mode():
            for _ in range(n):
                y, _ = module(x)

    def output() -> Any:
        if inputs.lengths is None:
            return y.numpy()
        return torch.nn.utils.rnn.pad_packed_sequence(y, total_length=case.steps)[0].numpy()

    return Variant(run, output)


def _packed(case: Case, inputs: Inputs) -> Variant:
    weights = inputs.layers[0][0]
    w0, w1 = _gates(weights.W), _gates(weights.R)
    b0, b1 = _gates(weights.b), torch.zeros(4 * case.num_units)
    x = torch.from_numpy(inputs.x)
    zeros = torch.zeros(1, case.batch, case.num_units)
    with torch.inference_mode():
        w0, w1 = torch.ops.mkldnn._reorder_mkldnn_rnn_layer_weight(
            w0, w1, case.num_units, False, True, False, list(x.shape)
        )
    y: Any = None

    def run(n: int) -> None:
        nonlocal y
        with torch.inference_mode():
            for _ in range(n):
                y = torch.ops.aten.mkldnn_rnn_layer(
                    x, w0, w1, b0, b1, zeros[0], zeros[0], False, [], 2, case.num_units, 1, True,
                    False, False, False,
                )[0]  # fmt: skip

    run(1)
    return Variant(run, lambda: y.numpy())
