"""From a file to ``LSTM`` objects: choosing a model, checking it, converting it."""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lstmcore import dtypes
from lstmcore.arrays import as_number
from lstmcore.errors import LoadError
from lstmcore.formats import canonical, self_check
from lstmcore.formats.layouts import CUDNN, Sizes
from lstmcore.formats.opening import open_source
from lstmcore.formats.safetensors_file import SafetensorsSource
from lstmcore.formats.source import FoundCell, FoundModel, Source
from lstmcore.models.description import Cell, CellSpec, StackLayer
from lstmcore.models.lstm import LSTM

Scope = str | Sequence[str] | None


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
    difference: float  # of the self-check, relative


def load(
    file: Any,
    scope: Scope = None,
    *,
    forget_bias: float | None = None,
    activation: str | None = None,
    recurrent_activation: str | None = None,
    cell_clip: float | None = None,
    proj_clip: float | None = None,
    dtype: Any = None,
    ignore: Sequence[str] = (),
) -> LSTM:
    """Opens an LSTM model that any of these wrote, without the framework.

    TensorFlow checkpoints (V2), frozen graphs and SavedModels; Keras 2 and 3 .h5, .weights.h5 and
    .keras; PyTorch .pt and .pth; .safetensors with PyTorch's names or written by ``save``; ONNX;
    and ``state_dict`` objects in memory. Nothing in a file is run. The weights are checked: the
    source's own equations and the kernel must agree on random inputs.

    Args:
        file: a path, the prefix of a checkpoint, or a mapping of names to arrays.
        scope: where a file holds several models, the name of one (``open_models`` gives them all);
            or a list of names, to be stacked in that order.
        forget_bias: what TensorFlow's cells added to the forget gate: 1.0 was the default, weights
            trained by CudnnLSTM need 0.0. TensorFlow does not store it, so it must be stated there;
            all others have it inside their biases.
        activation, recurrent_activation, cell_clip, proj_clip: of every cell, where the file does
            not say: TensorFlow's checkpoints, Keras files of weights alone.
        dtype: float32 or float64; None: float64 where the weights are, else float32.
        ignore: tensors that are meant to be left out: names, prefixes, or patterns with ``*``.

    Raises:
        LoadError: a file that is broken or not known; more than one model and no ``scope``; weights
            in ``scope`` that were not used; options that the kernels do not have. The message names
            file, tensor and remedy.
        UnsafeFile: (a LoadError) a file that would run code or reach outside itself.
        MissingExtra: (an ImportError) a package is needed; the message says how to install it.
        TypeError, ValueError: arguments of wrong types or values.
    """
    choices = Choices(forget_bias, activation, recurrent_activation, cell_clip, proj_clip, dtype)
    return load_explained(file, scope, choices, ignore).model


def load_explained(file: Any, scope: Scope, choices: Choices, ignore: Sequence[str]) -> Loaded:
    """``load``, with how the model came about."""
    checked = _checked(choices)
    source = open_source(file)
    try:
        if isinstance(source, SafetensorsSource) and canonical.KEY in source.metadata:
            _refuse_choices(source, checked, scope)
            model = canonical.read(source)
            wanted = dtype_of(checked)
            if wanted is not None and wanted != model.dtype:
                model = _cast(model, wanted)
            mapping = [Mapped(name, (name,)) for name in model.weights]
            return Loaded(model, mapping, [], 0.0)
        found = pick(source, scope)
        _check_loadable(source, found)
        _check_all_used(source, found, scope, ignore)
        return build(source, found, checked)
    finally:
        source.close()


def open_models(file: Any, **choices: Any) -> dict[str, LSTM]:
    """All models of a file by name; arguments as for ``load``, without ``scope`` and ``ignore``.

    Raises as ``load``, for the first model that cannot be loaded.
    """
    checked = _checked(Choices(**choices))
    source = open_source(file)
    try:
        if isinstance(source, SafetensorsSource) and canonical.KEY in source.metadata:
            _refuse_choices(source, checked, None)
            model = canonical.read(source)
            return {model.name: model}
        if not source.models:
            raise _nothing(source)
        return {found.scope: build(source, found, checked).model for found in source.models}
    finally:
        source.close()


def pick(source: Source, scope: Scope) -> FoundModel:
    """The model that ``scope`` names. Raises LoadError, listing what there is."""
    models = {model.scope: model for model in source.models}
    if not models:
        raise _nothing(source)
    listed = ", ".join(repr(name) for name in list(models)[:8])
    listed += f" and {len(models) - 8} more" if len(models) > 8 else ""
    if scope is None:
        if len(models) > 1:
            raise source.error(
                f"holds {len(models)} LSTM models: {listed}. Pass scope=... to choose one, or use "
                "lstmcore.open_models"
            )
        return next(iter(models.values()))
    if isinstance(scope, str):
        return _named(source, models, scope, listed)
    parts = [_named(source, models, name, listed) for name in scope]
    if not parts:
        raise source.error(f"scope: expected at least one name of {listed}")
    return FoundModel(
        "+".join(part.scope for part in parts),
        tuple(layer for part in parts for layer in part.layers),
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        next((part.problem for part in parts if part.problem), None),
    )


def _named(source: Source, models: dict[str, FoundModel], scope: str, listed: str) -> FoundModel:
    name = scope.strip(source.separator)
    if scope in models or name in models:
        return models.get(scope) or models[name]
    below = [m for key, m in models.items() if key.startswith(name + source.separator) or not name]
    if len(below) == 1:
        return below[0]
    several = ", ".join(repr(model.scope) for model in below[:8])
    what = (
        f"holds several models under {scope!r}: {several}"
        if below
        else (f"has no LSTM model {scope!r}; there are {listed}")
    )
    raise source.error(f"{what}. Pass scope=... to choose one")


def _nothing(source: Source) -> LoadError:
    shown = ", ".join(list(source.tensors)[:5])
    return source.error(
        f"no LSTM in this file ({source.format}, {len(source.tensors)} tensors"
        + (f": {shown}, ...)" if shown else ")")
    )


def _check_loadable(source: Source, found: FoundModel) -> None:
    if found.problem:
        raise source.error(f"{found.scope!r}: {found.problem}")


def unused_tensors(source: Source, found: FoundModel, scope: Scope) -> list[str]:
    """Weights in the scope that ``found`` does not use."""
    used = {origin for name in found.names for origin in source.origins(name)} | found.names
    inside = set(source.tensors)
    if scope is not None:
        prefix = found.scope + source.separator
        inside = {name for name in inside if name.startswith(prefix)} if found.scope else inside
    others = {name for model in source.models for name in model.names}
    return sorted(inside - used - source.foreign - (others if scope is None else set()))


def _check_all_used(source: Source, found: FoundModel, scope: Scope, ignore: Sequence[str]) -> None:
    if isinstance(ignore, str):
        raise TypeError(f"ignore: expected a list of names, got {ignore!r}")
    unused = [
        name
        for name in unused_tensors(source, found, scope)
        if not any(
            name == entry
            or name.startswith(entry.rstrip(source.separator) + source.separator)
            or fnmatch.fnmatchcase(name, entry)
            for entry in ignore
        )
    ]
    if unused:
        shown = ", ".join(unused[:6]) + (", ..." if len(unused) > 6 else "")
        raise source.error(
            f"{len(unused)} tensors were not used: {shown}. Pass scope={found.scope!r} for that "
            "model alone, or ignore=[...] if that is meant"
        )


def build(source: Source, found: FoundModel, choices: Choices) -> Loaded:
    """Reads, converts and checks the weights of a model. Raises LoadError."""
    _check_loadable(source, found)
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


def _checked(choices: Choices) -> Choices:
    """Raises TypeError and ValueError for options that no cell could have."""
    if choices.forget_bias is not None:
        as_number(choices.forget_bias, "forget_bias")
    options = {
        name: value
        for name in ("activation", "recurrent_activation", "cell_clip", "proj_clip")
        if (value := getattr(choices, name)) is not None
    }
    CellSpec(1, 1, num_proj=1, **options)
    dtype_of(choices)
    return choices


def dtype_of(choices: Choices) -> Any:
    return None if choices.dtype is None else dtypes.as_compute_dtype(choices.dtype)


def _refuse_choices(source: Source, choices: Choices, scope: Scope) -> None:
    stated = {**choices._asdict(), "scope": scope}
    given = [name for name, value in stated.items() if name != "dtype" and value is not None]
    if given:
        raise source.error(f"the file says all of its model; leave out {', '.join(given)}")


def _cast(model: LSTM, dtype: Any) -> LSTM:
    layers = [layer.astype(dtype) for layer in model.layers]
    return LSTM.from_layers(layers, metadata=model.metadata, name=model.name)


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
