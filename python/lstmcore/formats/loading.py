"""Opening model files: ``load`` and ``open_models``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lstmcore.arrays import as_number
from lstmcore.formats import canonical
from lstmcore.formats.building import Choices, Loaded, Mapped, build, dtype_of
from lstmcore.formats.choosing import (
    Scope,
    check_all_used,
    check_loadable,
    no_models,
    pick,
)
from lstmcore.formats.opening import open_source
from lstmcore.formats.safetensors_file import SafetensorsSource
from lstmcore.formats.source import Source
from lstmcore.models.description import CellSpec
from lstmcore.models.lstm import LSTM
from lstmcore.placement import Placement, placement


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
    device: str = "cpu",
    device_dtype: str | None = None,
    math: str = "ieee",
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
        device, device_dtype, math: where the model computes; see ``LSTM.to``.

    Raises:
        LoadError: a file that is broken or not known; more than one model and no ``scope``; weights
            in ``scope`` that were not used; options that the kernels do not have. The message names
            file, tensor and remedy.
        UnsafeFile: (a LoadError) a file that would run code or reach outside itself.
        MissingExtra: (an ImportError) a package is needed; the message says how to install it.
        TypeError, ValueError: arguments of wrong types or values.
        RuntimeError: a device that cannot be used, with the reason.
    """
    choices = Choices(forget_bias, activation, recurrent_activation, cell_clip, proj_clip, dtype)
    where = placement(device, device_dtype, math)
    return _placed(load_explained(file, scope, choices, ignore).model, where)


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
            return Loaded(model, mapping, [], None)
        found = pick(source, scope)
        check_loadable(source, found)
        check_all_used(source, found, scope, ignore)
        return build(source, found, checked)
    finally:
        source.close()


def open_models(
    file: Any,
    *,
    device: str = "cpu",
    device_dtype: str | None = None,
    math: str = "ieee",
    **choices: Any,
) -> dict[str, LSTM]:
    """All models of a file by name; arguments as for ``load``, without ``scope`` and ``ignore``.

    Raises as ``load``, for the first model that cannot be loaded.
    """
    where = placement(device, device_dtype, math)
    return {name: _placed(model, where) for name, model in _open_models(file, choices).items()}


def _placed(model: LSTM, where: Placement | None) -> LSTM:
    return model if where is None else model.to(where.device, where.dtype, math=where.math)


def _open_models(file: Any, choices: dict[str, Any]) -> dict[str, LSTM]:
    checked = _checked(Choices(**choices))
    source = open_source(file)
    try:
        if isinstance(source, SafetensorsSource) and canonical.KEY in source.metadata:
            _refuse_choices(source, checked, None)
            model = canonical.read(source)
            return {model.name: model}
        if not source.models:
            raise no_models(source)
        return {found.scope: build(source, found, checked).model for found in source.models}
    finally:
        source.close()


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


def _refuse_choices(source: Source, choices: Choices, scope: Scope) -> None:
    stated = {**choices._asdict(), "scope": scope}
    given = [name for name, value in stated.items() if name != "dtype" and value is not None]
    if given:
        raise source.error(f"the file says all of its model; leave out {', '.join(given)}")


def _cast(model: LSTM, dtype: Any) -> LSTM:
    layers = [layer.astype(dtype) for layer in model.layers]
    return LSTM.from_layers(layers, metadata=model.metadata, name=model.name)
