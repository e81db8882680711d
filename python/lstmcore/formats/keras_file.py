"""Keras 2 and 3: ``.h5``, ``.weights.h5`` and ``.keras``."""

from __future__ import annotations

import dataclasses
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field

from lstmcore.arrays import Array
from lstmcore.errors import LoadError
from lstmcore.formats.hdf5 import Hdf5File
from lstmcore.formats.keras_config import LayerConfig, lstm_layers
from lstmcore.formats.layouts import CUDNN, KERAS, Layout
from lstmcore.formats.source import (
    CellOptions,
    FoundCell,
    FoundLayer,
    FoundModel,
    Source,
)

_ROLES = ("kernel", "recurrent_kernel", "bias")
_DIRECTION = re.compile(r"^(forward|backward)_")
_MAX_EXPANSION = 64  # of an archive's entry; a config of JSON packs to a tenth


@dataclass
class KerasSource(Source):
    """Opens the file at ``path``. Raises LoadError, UnsafeFile, MissingExtra."""

    file: Hdf5File = field(init=False)
    layers: dict[str, LayerConfig] | None = None  # None where the file has no config

    def __post_init__(self) -> None:
        weights, config, version = self._contents()
        self.file = Hdf5File(weights, self.path)
        attributes = {**self.file.attributes.get("model_weights", {}), **self.file.attributes[""]}
        version = version or str(attributes.get("keras_version", ""))
        self.format = f"{self.format} (Keras {version or 'of unknown version'})"
        config = config or attributes.get("model_config")
        if config is not None:
            self.layers = lstm_layers(str(config), version, self.path)
        self.tensors = self.file.tensors
        self.foreign = {name for name in self.tensors if re.match(r"_?optimizer", name)}
        self.models = _stacked(self._found(), self.layers)

    def _contents(self) -> tuple[str | bytes, str | None, str]:
        """The HDF5 file (a path or bytes), the model's config and the version beside it."""
        return self.path, None, ""

    def _found(self) -> dict[str, dict[str, FoundCell]]:
        """The cells by layer and direction."""
        cells: dict[str, dict[str, str]] = {}
        for name in self.tensors:
            if name in self.foreign:
                continue
            place, _, leaf = name.rpartition("/")
            numbered = re.fullmatch(r"(.*/)?cell/vars", place)
            if numbered and leaf in ("0", "1", "2"):
                cells.setdefault(place, {})[_ROLES[int(leaf)]] = name
            elif re.sub(r":0$", "", leaf) in _ROLES:
                cells.setdefault(place, {})[re.sub(r":0$", "", leaf)] = name
        found: dict[str, dict[str, FoundCell]] = {}
        for place, names in cells.items():
            layout = self._layout(names)
            if layout is None:
                continue
            layer, side = self._place(place)
            found.setdefault(layer, {})[side] = FoundCell(place, layout, names)
        return found

    def _layout(self, names: Mapping[str, str]) -> Layout | None:
        """By shape; None for what is no LSTM (a dense layer, a GRU)."""
        if not {"kernel", "recurrent_kernel"} <= set(names):
            return None
        recurrent = self.tensors[names["recurrent_kernel"]].shape
        if len(recurrent) != 2 or recurrent[1] != 4 * recurrent[0]:
            return None
        bias = self.tensors[names["bias"]].shape if "bias" in names else ()
        return CUDNN if bias == (8 * recurrent[0],) else KERAS

    def _place(self, place: str) -> tuple[str, str]:
        """The layer's name, and the direction, of the group that holds a cell's weights."""
        parts = place.split("/")
        attributes = self.file.attributes
        if parts[-2:] == ["cell", "vars"]:  # Keras 3: its own name is an attribute of .../vars
            parts = parts[:-2]
            side = parts[-1].partition("_")[0] if parts[-1].endswith("ward_layer") else "forward"
            parts = parts[:-1] if parts[-1].endswith("ward_layer") else parts
            group = "/".join([*parts, "vars"])
            return str(attributes.get(group, {}).get("name") or "/".join(parts)), side
        if parts[0] == "model_weights":
            parts = parts[1:]
        if len(parts) > 1 and re.fullmatch(r"lstm_cell(_\d+)?", parts[-1]):
            parts = parts[:-1]
        side = "forward"
        match = _DIRECTION.match(parts[-1])
        if match and len(parts) > 1:
            side, parts = match[1], parts[:-1]
        # <layer>/<layer>, or <layer>/<model>/<layer>: the first is the layer's, or a model's whose
        # layers follow.
        known = [part for part in parts if part in (self.layers or ())]
        return (known[-1] if known else parts[-1]), side

    def read(self, name: str) -> Array:
        return self.file.read(name)

    def close(self) -> None:
        self.file.close()


@dataclass
class KerasZipSource(KerasSource):
    """The ``.keras`` archive of Keras 3: config.json, metadata.json and model.weights.h5."""

    def _contents(self) -> tuple[str | bytes, str | None, str]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                config = self._entry(archive, "config.json")
                metadata = json.loads(self._entry(archive, "metadata.json"))
                weights = self._entry(archive, "model.weights.h5")
        except LoadError:
            raise
        except Exception as error:  # zipfile, zlib and json each have their own
            raise self.error(f"a broken .keras archive: {error}") from None
        version = str(metadata.get("keras_version", "")) if isinstance(metadata, dict) else ""
        return weights, config.decode("utf-8", "replace"), version

    def _entry(self, archive: zipfile.ZipFile, name: str) -> bytes:
        info = archive.getinfo(name)
        if info.file_size > info.compress_size * _MAX_EXPANSION + 4096:
            raise self.error(f"{name} would unpack to {info.file_size} bytes; refused")
        return archive.read(info)


def _stacked(
    found: Mapping[str, Mapping[str, FoundCell]], described: Mapping[str, LayerConfig] | None
) -> list[FoundModel]:
    """A model per layer, or per run of layers where the config says that one reads the other."""
    configs = described or {}
    singles = {name: _layer(name, sides, configs.get(name)) for name, sides in found.items()}
    if described is not None:
        for name in set(singles) - set(described):
            unknown = f"the model's config describes no LSTM layer {name!r}"
            singles[name] = dataclasses.replace(singles[name], problem=unknown)
    above = {
        config.below: name
        for name, config in configs.items()
        if config.below in singles and name in singles
    }
    models = []
    for name in singles:
        below = configs[name].below if name in configs else None
        if below in singles:
            continue
        run = [name]
        while run[-1] in above:
            run.append(above[run[-1]])
        parts = [singles[part] for part in run]
        models.append(
            FoundModel(
                run[0] if len(run) == 1 else "+".join(run),
                tuple(layer for part in parts for layer in part.layers),
                tuple(dict.fromkeys(note for part in parts for note in part.notes)),
                next((part.problem for part in parts if part.problem), None),
            )
        )
    return models


def _layer(name: str, sides: Mapping[str, FoundCell], config: LayerConfig | None) -> FoundModel:
    options, notes, problem = CellOptions(), [], None
    if config is None and all(cell.layout is CUDNN for cell in sides.values()):
        options = CellOptions(0.0, "tanh", "sigmoid")  # cuDNN has no others
    elif config is None:
        notes.append("activations are not stored: Keras's defaults, tanh and sigmoid")
    else:
        options = CellOptions(0.0, config.activation, config.recurrent_activation)
        problem = config.problem and f"layer {name!r} has {config.problem}"
        if config.backwards:
            notes.append(
                "go_backwards: Keras returns the outputs in the order in which they are computed; "
                "here they stand at the time steps of their inputs"
            )
    cells = {
        side: FoundCell(cell.where, cell.layout, cell.names, options)
        for side, cell in sides.items()
    }
    if "forward" not in cells:
        problem = problem or f"layer {name!r} has no forward direction"
    forward, backward = cells.get("forward"), cells.get("backward")
    if config is not None and config.backwards and backward is None:
        forward, backward = None, forward
    return FoundModel(name, (FoundLayer(forward, backward),), tuple(notes), problem)
