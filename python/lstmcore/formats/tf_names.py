"""From the names of TensorFlow variables to the models that they make up.

Each cell's scope ends in parts that say where it stands in a structure (``multi_rnn_cell/cell_1``,
``bidirectional_rnn/fw``); what comes before them is the scope of the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lstmcore.checkpoint.names import CUDNN_SEGMENT, ROLES, CellKey, structure_key
from lstmcore.formats.layouts import KERAS, TENSORFLOW, Layout
from lstmcore.formats.source import CellOptions, FoundCell, FoundLayer, FoundModel, TensorInfo

_KERAS_ROLES = {"recurrent_kernel"}
_OPAQUE = re.compile(r"(^|/)opaque_kernel(_\d+)?$")
# Of Keras: (Bidirectional) forward_lstm_2/lstm_cell, forward_layer/cell.
_KERAS_DIRECTION = re.compile(r"(forward|backward)_")


@dataclass
class _Cell:
    scope: str
    names: dict[str, str] = field(default_factory=dict)

    @property
    def layout(self) -> Layout:
        return KERAS if "recurrent_kernel" in self.names else TENSORFLOW


def find_models(paths: Mapping[str, str], tensors: Mapping[str, TensorInfo]) -> list[FoundModel]:
    """All LSTM models among variables.

    Args:
        paths: the stored name of each tensor by its variable's path.
        tensors: what each stored tensor is.
    """
    cells = [cell for cell in _cells(paths) if _is_lstm(cell, tensors)]
    keras = [cell for cell in cells if cell.layout is KERAS]
    models = [_keras_model(scope, group) for scope, group in _keras_groups(keras).items()]
    models += _structures([cell for cell in cells if cell.layout is TENSORFLOW])
    for path, name in paths.items():
        if _OPAQUE.search(path):
            scope, problem = path.rpartition("/")[0], "an opaque CudnnLSTM parameter buffer, which "
            problem += "only cuDNN can unpack; save the model through CudnnLSTM's saveable"
            opaque = FoundCell(path, TENSORFLOW, {"opaque": name})
            models.append(FoundModel(scope, (FoundLayer(opaque),), problem=problem))
    return sorted(models, key=lambda model: model.scope)


def _cells(paths: Mapping[str, str]) -> list[_Cell]:
    cells: dict[str, _Cell] = {}
    for path, name in paths.items():
        parts = path.split("/")
        size = 2 if "/".join(parts[-2:]) in ROLES else 1
        role = "/".join(parts[-size:])
        role = role if role in _KERAS_ROLES else ROLES.get(role, "")
        if role:
            scope = "/".join(parts[:-size])
            cells.setdefault(scope, _Cell(scope)).names.setdefault(role, name)
    return list(cells.values())


def _is_lstm(cell: _Cell, tensors: Mapping[str, TensorInfo]) -> bool:
    """By its shapes: a kernel of four gates. A dense layer has a kernel and a bias as well."""
    if "kernel" not in cell.names:
        return False
    kernel = tensors[cell.names["kernel"]].shape
    if cell.layout is KERAS:
        recurrent = tensors[cell.names["recurrent_kernel"]].shape
        return len(recurrent) == 2 and recurrent[1] == 4 * recurrent[0]
    bias = tensors[cell.names["bias"]].shape if "bias" in cell.names else None
    return (
        len(kernel) == 2
        and kernel[1] % 4 == 0
        and bias == (kernel[1],)
        and (kernel[0] > kernel[1] // 4 or "projection/kernel" in cell.names)
        and re.search(r"lstm|rnn|cell", cell.scope, re.IGNORECASE) is not None
    )


def _keras_groups(cells: list[_Cell]) -> dict[str, list[_Cell]]:
    """Keras cells by layer: ``<layer>/lstm_cell``, ``<layer>/forward_<name>/lstm_cell``."""
    groups: dict[str, list[_Cell]] = {}
    for cell in cells:
        parts = cell.scope.split("/")
        if re.fullmatch(r"(lstm_)?cell(_\d+)?", parts[-1]):
            parts = parts[:-1]
        if parts and _KERAS_DIRECTION.match(parts[-1]):
            parts = parts[:-1]
        groups.setdefault("/".join(parts), []).append(cell)
    return groups


def _keras_model(scope: str, cells: list[_Cell]) -> FoundModel:
    found = [FoundCell(cell.scope, KERAS, cell.names) for cell in cells]
    note = ("activations are not stored: Keras's defaults, tanh and sigmoid",)
    if len(found) == 1:
        return FoundModel(scope, (FoundLayer(found[0]),), note)
    sides = {}
    for cell in found:
        match = re.search(r"(?:^|/)(forward|backward)_[^/]*(?:/[^/]*)?$", cell.where)
        sides[match[1] if match else cell.where] = cell
    if set(sides) == {"forward", "backward"} and len(found) == 2:
        return FoundModel(scope, (FoundLayer(sides["forward"], sides["backward"]),), note)
    return FoundModel(
        scope, tuple(FoundLayer(c) for c in found), problem="its cells are no layer of one kind"
    )


def _structures(cells: list[_Cell]) -> list[FoundModel]:
    """Groups of cells whose places make up a stack, under the shortest scope that tells them."""
    groups: dict[str, dict[CellKey, _Cell]] = {}
    for cell in cells:
        parts = cell.scope.split("/")
        start = len(parts) - 1  # the last part is the cell's own name
        if structure_key(parts[-1:]):
            start += 1  # cell_0 at the end is a place, where there is no name below
        first = start
        while first > 0 and structure_key(parts[first - 1 : start]) is not None:
            first -= 1
        # A lone "rnn" belongs to the name: "encoder/rnn" and "decoder/rnn" read better so.
        key = structure_key(parts[first:start]) or ()
        root = "/".join(parts[:first])
        while key in groups.get(root, {}) and first < start:
            first += 1
            root, key = "/".join(parts[:first]), structure_key(parts[first:start]) or ()
        if key in groups.get(root, {}):
            root, key = cell.scope, ()
        groups.setdefault(root, {})[key] = cell
    return [model for root, group in groups.items() for model in _models_of(root, group)]


def _models_of(root: str, group: dict[CellKey, _Cell]) -> list[FoundModel]:
    """The stack under ``root``, or its parts where they do not read each other."""
    found = {
        key: FoundCell(
            cell.scope,
            TENSORFLOW,
            cell.names,
            CellOptions(forget_bias=0.0 if CUDNN_SEGMENT.search(cell.scope) else None),
        )
        for key, cell in group.items()
    }
    layers: dict[int, dict[str, FoundCell]] = {}
    sides: dict[str, dict[CellKey, FoundCell]] = {}
    for key, cell in found.items():
        if len(key) > 1 and key[0] in ("fw", "bw"):  # stacks side by side
            sides.setdefault(str(key[0]), {})[key[1:]] = cell
            continue
        numbers = [part for part in key if isinstance(part, int)]
        directions = [part for part in key if isinstance(part, str)]
        if len(numbers) > 1 or len(directions) > 1:
            return [_alone(cell) for cell in found.values()]
        layer = layers.setdefault(numbers[0] if numbers else 0, {})
        layer[directions[0] if directions else "fw"] = cell
    models = []
    for side, cells in sides.items():
        inner = _models_of(f"{root}/{side}".lstrip("/"), _keyed(group, side, cells))
        models += [_turned(model) if side == "bw" else model for model in inner]
    if layers:
        if sorted(layers) != list(range(len(layers))):
            return [*models, *(_alone(c) for layer in layers.values() for c in layer.values())]
        stack = tuple(FoundLayer(layers[k].get("fw"), layers[k].get("bw")) for k in sorted(layers))
        models.append(FoundModel(root, stack))
    return models


def _keyed(
    group: dict[CellKey, _Cell], side: str, cells: dict[CellKey, FoundCell]
) -> dict[CellKey, _Cell]:
    return {key: group[(side, *key)] for key in cells}


def _alone(cell: FoundCell) -> FoundModel:
    return FoundModel(cell.where, (FoundLayer(cell),))


def _turned(model: FoundModel) -> FoundModel:
    """The backward stack of a pair: each of its layers runs from the end."""
    layers = tuple(FoundLayer(None, layer.forward) for layer in model.layers)
    return FoundModel(model.scope, layers, model.notes, model.problem)
