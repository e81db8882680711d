"""The weights of a stack of layers: initial ones, all by name, others in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from lstmcore.arrays import Array, as_array
from lstmcore.models.description import Cell, CellSpec, StackLayer
from lstmcore.variables.initializers import drawn


def initial_cell(spec: CellSpec, dtype: Any, random: np.random.Generator) -> Cell:
    """Matrices uniform as by Glorot & Bengio 2010, vectors of zeros."""
    weights = {}
    for role, shape in spec.shapes.items():
        limit = 0.0 if len(shape) == 1 else np.sqrt(6 / sum(shape))
        weights[role] = drawn(shape, dtype, partial(_uniform, random, limit))
        weights[role].flags.writeable = False  # handed over: the model keeps it without a copy
    return Cell(spec, weights)


def _uniform(random: np.random.Generator, limit: float, size: int) -> Array:
    return random.uniform(-limit, limit, size)


def by_name(layers: Sequence[StackLayer]) -> dict[str, Array]:
    """All weights, as ``layers.0.forward.kernel``."""
    return {
        f"layers.{k}.{direction}.{role}": value
        for k, layer in enumerate(layers)
        for direction, cell in layer.cells
        for role, value in cell.weights.items()
    }


def replaced(layers: Sequence[StackLayer], weights: Mapping[str, Any]) -> list[StackLayer]:
    """The layers with copies of these weights, by name.

    Raises ValueError for names that are missing or too many and for other shapes, TypeError for
    another dtype.
    """
    own = by_name(layers)
    if set(weights) != set(own):
        missing, extra = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
        raise ValueError(f"weights: missing {missing}, unknown {extra}")
    given = {name: as_array(value, f"weights[{name!r}]") for name, value in weights.items()}
    for name, value in given.items():
        if value.dtype != own[name].dtype:
            raise TypeError(f"weights[{name!r}]: expected {own[name].dtype}, got {value.dtype}")
        if value.shape != own[name].shape:
            raise ValueError(
                f"weights[{name!r}]: expected shape {own[name].shape}, got {value.shape}"
            )

    def cell_of(k: int, direction: str, cell: Cell | None) -> Cell | None:
        if cell is None:
            return None
        copies = {role: given[f"layers.{k}.{direction}.{role}"].copy() for role in cell.weights}
        for copy in copies.values():
            copy.flags.writeable = False
        return Cell(cell.spec, copies)

    return [
        StackLayer(cell_of(k, "forward", layer.forward), cell_of(k, "backward", layer.backward))
        for k, layer in enumerate(layers)
    ]


def equal(layers: Sequence[StackLayer], others: Sequence[StackLayer]) -> bool:
    """Whether both have the same specs, and the same weights bit for bit."""
    mine, theirs = by_name(layers), by_name(others)
    return (
        [[(n, c.spec) for n, c in layer.cells] for layer in layers]
        == [[(n, c.spec) for n, c in layer.cells] for layer in others]
        and mine.keys() == theirs.keys()
        and all(
            value.dtype == theirs[name].dtype and value.tobytes() == theirs[name].tobytes()
            for name, value in mine.items()
        )
    )
