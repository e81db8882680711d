"""From the keys of a state_dict to the models in it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lstmcore.formats.layouts import TORCH
from lstmcore.formats.source import CellOptions, FoundCell, FoundLayer, FoundModel, TensorInfo

_KEY = re.compile(
    r"(?P<scope>.*?)\.?(?P<role>weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)"
    r"(_l(?P<layer>\d{1,4})(?P<reverse>_reverse)?)?"
)

# The module has no others.
_OPTIONS = CellOptions(0.0, "tanh", "sigmoid")


def is_weight(name: str) -> bool:
    """Whether a key is that of an LSTM's weight."""
    return _KEY.fullmatch(name) is not None


def find_models(tensors: Mapping[str, TensorInfo]) -> list[FoundModel]:
    """``nn.LSTM`` (weight_ih_l0, ..., _reverse) and ``nn.LSTMCell`` (weight_ih, ...) by prefix.

    GRU and RNN modules have the same keys with fewer rows: they are left out.
    """
    groups: dict[str, dict[tuple[int, str], dict[str, str]]] = {}
    for name in tensors:
        match = _KEY.fullmatch(name)
        if match:
            place = (int(match["layer"] or 0), "backward" if match["reverse"] else "forward")
            cells = groups.setdefault(match["scope"], {})
            cells.setdefault(place, {})[match["role"]] = name
    models = [_model(scope, cells) for scope, cells in groups.items()]
    return [model for model in models if not _is_other_rnn(model, tensors)]


def _model(scope: str, cells: dict[tuple[int, str], dict[str, str]]) -> FoundModel:
    count = 1 + max(layer for layer, _ in cells)
    layers, problem = [], None
    for k in range(count):
        found = {
            side: FoundCell(f"{scope}.l{k}".lstrip("."), TORCH, cells[k, side], _OPTIONS)
            for side in ("forward", "backward")
            if (k, side) in cells
        }
        if "forward" not in found:
            problem = f"layer {k} is missing" + (" forwards" if found else "")
            continue
        layers.append(FoundLayer(found["forward"], found.get("backward")))
    if len({len(layer.cells) for layer in layers}) > 1:
        problem = problem or "some of its layers have a reverse direction, some have none"
    return FoundModel(scope, tuple(layers), problem=problem)


def _is_other_rnn(model: FoundModel, tensors: Mapping[str, TensorInfo]) -> bool:
    for layer in model.layers:
        for _, cell in layer.cells:
            name = cell.names.get("weight_hh")
            shape = tensors[name].shape if name else ()
            if len(shape) == 2 and "weight_hr" not in cell.names:
                return shape[0] in (shape[1], 3 * shape[1])
    return False
