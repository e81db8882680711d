"""lstmcore: the TF1 cell API, streams, the sequence functions, and whole models."""

from __future__ import annotations

from typing import Any

import numpy as np

import lstmcore
from lstmcore.benchmark.cases import Case, Direction, Inputs, Variant
from lstmcore.models.description import Cell, CellSpec, StackLayer


def _cell(weights: Direction, name: str) -> Any:
    units = weights.R.shape[0]
    cell = lstmcore.BasicLSTMCell(units, forget_bias=0.0, name=name)
    cell.build([None, weights.W.shape[0]])
    cell.set_weights([np.concatenate([weights.W, weights.R]), weights.b])
    return cell


def version() -> str:
    return str(lstmcore.__version__)


def variants(case: Case, inputs: Inputs, threads: int) -> dict[str, Variant]:
    lstmcore.set_num_threads(threads)
    with lstmcore.Graph().as_default():
        cells = [
            [_cell(w, f"layer_{k}_{d}") for d, w in enumerate(directions)]
            for k, directions in enumerate(inputs.layers)
        ]
    if case.is_step:
        return {"cell": _cell_steps(case, inputs, cells[0][0])} | {
            "step_into": _stream_steps(case, inputs, cells[0][0])
        }
    variants = {"dynamic_rnn": _sequences(case, inputs, cells), "LSTM": _model(inputs)}
    if not case.ragged and not case.bidirectional:
        variants["push"] = _pushes(case, inputs)
    return variants


def _cell_steps(case: Case, inputs: Inputs, cell: Any) -> Variant:
    x = inputs.x[0].copy()
    state = cell.zero_state(case.batch, np.float32)

    def run(n: int) -> None:
        nonlocal state
        for _ in range(n):
            _, state = cell(x, state)

    return Variant(run, lambda: state.h)


def _stream_steps(case: Case, inputs: Inputs, cell: Any) -> Variant:
    stream = lstmcore.Stream(cell, batch_size=case.batch)
    x, out = inputs.x[0].copy(), np.empty((case.batch, case.num_units), np.float32)
    step_into = stream.step_into

    def run(n: int) -> None:
        for _ in range(n):
            step_into(x, out)

    return Variant(run, lambda: out)


def _sequences(case: Case, inputs: Inputs, cells: list[list[Any]]) -> Variant:
    y: Any = None

    def layer(directions: list[Any], x: Any) -> Any:
        common: Any = {
            "sequence_length": inputs.lengths,
            "dtype": np.float32,
            "time_major": True,
        }
        if len(directions) == 1:
            return lstmcore.dynamic_rnn(directions[0], x, **common)[0]
        forward, backward = directions
        return np.concatenate(
            lstmcore.bidirectional_dynamic_rnn(forward, backward, x, **common)[0], axis=2
        )

    def run(n: int) -> None:
        nonlocal y
        for _ in range(n):
            y = inputs.x
            for directions in cells:
                y = layer(directions, y)

    return Variant(run, lambda: y)


def _model(inputs: Inputs) -> Variant:
    model = _model_of(inputs)
    y: Any = None

    def run(n: int) -> None:
        nonlocal y
        for _ in range(n):
            y = model(inputs.x, inputs.lengths, time_major=True)

    return Variant(run, lambda: y)


def _pushes(case: Case, inputs: Inputs) -> Variant:
    stream = lstmcore.Stream(_model_of(inputs), batch_size=case.batch)
    y: Any = None

    def run(n: int) -> None:
        nonlocal y
        for _ in range(n):
            stream.reset()
            y = stream.push(inputs.x)

    return Variant(run, lambda: y)


def _model_of(inputs: Inputs) -> lstmcore.LSTM:
    def cell(weights: Direction) -> Cell:
        spec = CellSpec(weights.W.shape[0], weights.R.shape[0])
        return Cell(spec, {"kernel": np.concatenate([weights.W, weights.R]), "bias": weights.b})

    return lstmcore.LSTM.from_layers([StackLayer(*map(cell, both)) for both in inputs.layers])
