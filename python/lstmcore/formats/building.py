"""From a found model to an ``LSTM``: weights read, converted, checked."""

from __future__ import annotations

import hashlib
import os
from typing import Any, NamedTuple

import numpy as np

from lstmcore import dtypes
from lstmcore.errors import LoadError
from lstmcore.formats import self_check
from lstmcore.formats.choosing import check_loadable
from lstmcore.formats.layouts import CUDNN, Sizes
from lstmcore.formats.source import FoundCell, FoundModel, Source
from lstmcore.models.description import Cell, CellSpec, StackLayer
from lstmcore.models.lstm import LSTM


class Choices(NamedTuple):
    """What the caller says of a model, where the file does not; see ``load``."""

    forget_bias: float | None = None
    activation: str | None = None
    recurrent_activation: str | None = None
    cell_clip: float | None = None
    proj_clip: float | None = None
    dtype: Any = None


class Mapped(NamedTuple):
    """One weight of a loaded model: where it went, and the tensors that it was made of."""

    target: str
    sources: tuple[str, ...]


class Loaded(NamedTuple):
    model: LSTM
    mapping: list[Mapped]
    notes: list[str]
    difference: float | None  # of the self-check, relative; None where a hash was checked


def build(source: Source, found: FoundModel, choices: Choices) -> Loaded:
    """Reads, converts and checks the weights of a model. Raises LoadError."""
    check_loadable(source, found)
    layers, mapping, notes, worst = [], [], list(found.notes), 0.0
    for k, layer in enumerate(found.layers):
        cells: dict[str, Cell] = {}
        for side, cell in layer.cells:
            built, difference = _build_cell(source, cell, choices)
            cells[side], worst = built, max(worst, difference)
            mapping += [
                Mapped(f"layers.{k}.{side}.{role}", _sources(cell, role)) for role in built.weights
            ]
            if cell.layout is CUDNN:
                notes.append(
                    f"{cell.where}: CuDNN's layout (8 H biases); kernels rearranged per gate, "
                    "biases added, forget_bias 0.0"
                )
        layers.append(StackLayer(cells.get("forward"), cells.get("backward")))
    metadata = {
        "source": os.path.basename(source.path),
        "format": source.format,
        "layout": found.layers[0].cells[0][1].layout.name,
        "name": found.scope or "lstm",
        "source_sha256": _file_hash(source.path),
    }
    try:
        model = LSTM.from_layers(_one_dtype(layers), metadata=metadata, name=found.scope or "lstm")
    except (TypeError, ValueError) as error:
        raise source.error(f"{found.scope!r} is no stack: {error}") from None
    return Loaded(model, mapping, notes, worst)


def _build_cell(source: Source, cell: FoundCell, choices: Choices) -> tuple[Cell, float]:
    where = f"{cell.where!r}" if cell.where else "its LSTM"
    missing = [role for role in cell.layout.required if role not in cell.names]
    if missing:
        raise source.error(f"{where} has no {' and no '.join(missing)}")
    unknown = set(cell.names) - {*cell.layout.required, *cell.layout.optional}
    if unknown:
        raise source.error(f"{where} has {', '.join(sorted(unknown))}, which belong to no LSTM")
    shapes = {role: source.tensors[name].shape for role, name in cell.names.items()}
    try:
        sizes = cell.layout.sizes(shapes)
        spec = _spec(source, cell, sizes, choices)
    except (TypeError, ValueError) as error:
        if isinstance(error, LoadError):
            raise
        raise source.error(f"{where}: {error}") from None
    weights = {role: source.read(name) for role, name in cell.names.items()}
    wanted = dtype_of(choices)
    dtype = np.result_type(*weights.values()) if wanted is None else wanted
    with np.errstate(all="ignore"):
        difference = self_check.difference(cell.layout, weights, sizes, spec)
        if not difference <= self_check.BOUND:
            raise source.error(
                f"{where}: the self-check failed: converted weights differ from the source's own "
                f"equations by {difference:.2g} of the outputs"
            )
        converted = {
            role: np.ascontiguousarray(value, dtype)
            for role, value in cell.layout.to_canonical(weights, sizes).items()
        }
    for value in converted.values():
        value.flags.writeable = False  # handed over: the model keeps it without a copy
    return Cell(spec, converted), difference


def _spec(source: Source, cell: FoundCell, sizes: Sizes, choices: Choices) -> CellSpec:
    stored = cell.options
    bias = stored.forget_bias
    if bias is None:
        if choices.forget_bias is None:
            raise source.error(
                f"{cell.where!r} needs a forget_bias: it is not stored in TensorFlow's files. The "
                "default of BasicLSTMCell and LSTMCell was 1.0; weights trained with CudnnLSTM "
                "need 0.0. Pass forget_bias=..."
            )
        bias = choices.forget_bias
    elif choices.forget_bias not in (None, bias):
        raise source.error(
            f"{cell.where!r}: got forget_bias={choices.forget_bias}, but {cell.layout.name}'s "
            f"weights have theirs in the bias already: leave it out"
        )
    options: dict[str, Any] = {}
    for name in ("activation", "recurrent_activation", "cell_clip", "proj_clip"):
        own, given = getattr(stored, name), getattr(choices, name)
        if own is not None and given not in (None, own):
            raise source.error(f"{cell.where!r}: got {name}={given!r}, the file says {own!r}")
        if own is not None or given is not None:
            options[name] = given if own is None else own
    if sizes.num_proj is None:
        options.pop("proj_clip", None)
    return CellSpec(
        sizes.input_size,
        sizes.num_units,
        sizes.num_proj,
        sizes.use_peepholes,
        float(bias),
        **options,
    )


def _sources(cell: FoundCell, role: str) -> tuple[str, ...]:
    """The tensors that a canonical weight was made of, for the mapping table."""
    parts = {
        "kernel": ("kernel", "recurrent_kernel", "weight_ih", "weight_hh", "W", "R"),
        "bias": ("bias", "bias_ih", "bias_hh", "B"),
        "projection": ("projection/kernel", "weight_hr"),
    }.get(role, (role, "P"))
    return tuple(cell.names[part] for part in parts if part in cell.names)


def dtype_of(choices: Choices) -> Any:
    return None if choices.dtype is None else dtypes.as_compute_dtype(choices.dtype)


def _one_dtype(layers: list[StackLayer]) -> list[StackLayer]:
    """The widest dtype of all cells, for all."""
    arrays = [v for layer in layers for _, cell in layer.cells for v in cell.weights.values()]
    return [layer.astype(np.result_type(*arrays)) for layer in layers]


def _file_hash(path: str) -> str:
    """SHA-256 of a file; "" for what is no single file."""
    if not os.path.isfile(path):
        return ""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            total.update(block)
    return total.hexdigest()
