"""The package's own file: ``.safetensors`` with canonical weights and the model in its header.

Header metadata: ``lstmcore`` (the model's description as JSON), ``sha256`` of the weights and the
description, and where the weights came from (``source``, ``format``, ``converter``).
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from lstmcore import _core
from lstmcore.arrays import Array
from lstmcore.errors import LoadError
from lstmcore.formats.files import optional
from lstmcore.formats.safetensors_file import SafetensorsSource
from lstmcore.models.description import Cell, CellSpec, StackLayer
from lstmcore.models.lstm import LSTM

KEY = "lstmcore"
_VERSION = 1


def write(model: LSTM, path: str) -> None:
    """Writes ``model`` to ``path``, which is replaced at once when all is written."""
    package = optional("safetensors.numpy", "safetensors", "writing .safetensors")
    description = _described(model)
    weights = {name: np.ascontiguousarray(value) for name, value in model.weights.items()}
    metadata = {
        **model.metadata,
        KEY: description,
        "converter": f"lstmcore {_core.__version__}",
        "sha256": _digest(description, weights),
    }
    replace(path, package.save(weights, metadata))


def replace(path: str, data: bytes) -> None:
    """Puts ``data`` in place of the file at ``path``, or leaves that as it was."""
    folder, base = os.path.split(os.path.abspath(path))
    handle, temporary = tempfile.mkstemp(prefix=f".{base}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read(source: SafetensorsSource) -> LSTM:
    """The model of a file that ``write`` made.

    Raises LoadError for a description that does not fit the tensors, and for weights that are not
    those that were written.
    """
    layers = read_layers(source)
    names = {
        f"layers.{k}.{side}.{role}": (spec, role)
        for k, layer in enumerate(layers)
        for side, spec in layer.items()
        for role in spec.shapes
    }
    if set(names) != set(source.tensors):
        odd = sorted(set(names) ^ set(source.tensors))
        raise source.error(f"its description does not fit its tensors: {', '.join(odd[:5])}")
    weights = {}
    for name, (spec, role) in names.items():
        info = source.tensors[name]
        if info.shape != spec.shapes[role] or info.dtype not in ("float32", "float64"):
            raise source.error(
                f"{name}: expected {spec.shapes[role]}, got {info.dtype} {info.shape}"
            )
        weights[name] = source.read(name)
        weights[name].flags.writeable = False  # handed over: the model keeps it without a copy
    if _digest(source.metadata[KEY], weights) != source.metadata.get("sha256"):
        raise source.error("the SHA-256 of its weights does not match: the file is corrupt")
    source.close()  # whose pages count beside the weights, and those beside the packed ones

    def cell(k: int, side: str) -> Cell | None:
        spec = layers[k].get(side)
        if spec is None:
            return None
        return Cell(spec, {role: weights[f"layers.{k}.{side}.{role}"] for role in spec.shapes})

    stack = [StackLayer(cell(k, "forward"), cell(k, "backward")) for k in range(len(layers))]
    metadata = {k: v for k, v in source.metadata.items() if k not in (KEY,)}
    try:
        return LSTM.from_layers(stack, metadata=metadata, name=str(metadata.get("name", "lstm")))
    except (TypeError, ValueError) as error:
        raise source.error(str(error)) from None


def read_layers(source: SafetensorsSource) -> list[dict[str, CellSpec]]:
    """The specs by layer and direction. Raises LoadError."""
    try:
        content = json.loads(source.metadata[KEY])
        if content["version"] != _VERSION:
            raise source.error(f"form {content['version']!r}, this lstmcore reads form {_VERSION}")
        layers = [
            {side: CellSpec(**fields) for side, fields in layer.items()}
            for layer in content["layers"]
        ]
    except LoadError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise source.error(f"its description makes no model: {error}") from None
    if not layers or any(not layer or set(layer) - {"forward", "backward"} for layer in layers):
        raise source.error("its description makes no model: a layer without a direction")
    return layers


def _described(model: LSTM) -> str:
    layers = [{side: cell.spec.as_dict() for side, cell in layer.cells} for layer in model.layers]
    return json.dumps({"version": _VERSION, "layers": layers})


def _digest(description: str, weights: Mapping[str, Array]) -> str:
    total = hashlib.sha256(description.encode())
    for name in sorted(weights):
        value: Any = weights[name]
        total.update(f"{name} {value.dtype.str} {value.shape}".encode())
        total.update(value)
    return total.hexdigest()
