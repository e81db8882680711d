"""``lstmcore inspect``: what LSTM models a file holds, from its headers alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lstmcore.formats import canonical
from lstmcore.formats.layouts import LayoutError
from lstmcore.formats.opening import open_source
from lstmcore.formats.safetensors_file import SafetensorsSource
from lstmcore.formats.source import FoundCell, FoundModel, Source

_MOST_SHOWN = 12


def report(path: str) -> dict[str, Any]:
    """The report as plain data. Raises LoadError, MissingExtra."""
    source = open_source(path)
    try:
        if isinstance(source, SafetensorsSource) and canonical.KEY in source.metadata:
            return _canonical(source)
        used = {
            origin for m in source.models for name in m.names for origin in source.origins(name)
        }
        used |= {name for model in source.models for name in model.names}
        others = sorted(set(source.tensors) - used - source.foreign)
        return {
            "file": path,
            "format": source.format,
            "models": [_model(source, model) for model in source.models],
            "other_tensors": {n: list(source.tensors[n].shape) for n in others},
            "foreign_tensors": len(source.foreign),
        }
    finally:
        source.close()


def _canonical(source: SafetensorsSource) -> dict[str, Any]:
    layers = canonical.read_layers(source)
    cells = [
        {"layer": k, "direction": side, "layout": "canonical", **spec.as_dict()}
        for k, layer in enumerate(layers)
        for side, spec in layer.items()
    ]
    for cell in cells:
        name = f"layers.{cell['layer']}.{cell['direction']}.kernel"
        info = source.tensors.get(name)
        cell["dtype"] = info.dtype if info else "missing"
    metadata = {k: v for k, v in sorted(source.metadata.items()) if k != canonical.KEY}
    return {
        "file": source.path,
        "format": "lstmcore safetensors",
        "metadata": metadata,
        "models": [
            {"scope": metadata.get("name", "lstm"), "cells": cells, "notes": [], "problem": None}
        ],
        "other_tensors": {},
        "foreign_tensors": 0,
    }


def _model(source: Source, model: FoundModel) -> dict[str, Any]:
    cells, problem = [], model.problem
    for k, layer in enumerate(model.layers):
        for side, cell in layer.cells:
            try:
                cells.append({"layer": k, "direction": side, **_cell(source, cell)})
            except (LayoutError, KeyError) as error:
                problem = problem or f"{cell.where}: {error}"
    return {"scope": model.scope, "cells": cells, "notes": list(model.notes), "problem": problem}


def _cell(source: Source, cell: FoundCell) -> dict[str, Any]:
    infos = {role: source.tensors[name] for role, name in cell.names.items()}
    missing = [role for role in cell.layout.required if role not in infos]
    if missing:
        raise LayoutError(f"has no {', '.join(missing)}")
    sizes = cell.layout.sizes({role: info.shape for role, info in infos.items()})
    options = cell.options
    return {
        "where": cell.where,
        "layout": cell.layout.name,
        "dtype": infos[cell.layout.required[0]].dtype,
        "input_size": sizes.input_size,
        "num_units": sizes.num_units,
        "num_proj": sizes.num_proj,
        "use_peepholes": sizes.use_peepholes,
        "forget_bias": options.forget_bias,
        "activation": options.activation,
        "recurrent_activation": options.recurrent_activation,
        "tensors": dict(cell.names),
    }


def as_text(found: dict[str, Any]) -> str:
    """The report for people."""
    lines = [f"{Path(found['file']).name}: {found['format']}"]
    lines += [f"  {key}: {value}" for key, value in found.get("metadata", {}).items() if value]
    if not found["models"]:
        lines.append("  no LSTM in this file")
    for model in found["models"]:
        lines += ["", f"{model['scope'] or '(the whole file)'}"]
        lines += _table([_row(cell) for cell in model["cells"]])
        lines += [f"  note: {note}" for note in model["notes"]]
        if model["problem"]:
            lines.append(f"  cannot be loaded: {model['problem']}")
    others = found["other_tensors"]
    if others:
        lines += ["", f"not LSTM weights ({len(others)}):"]
        lines += [f"  {name} {tuple(shape)}" for name, shape in list(others.items())[:_MOST_SHOWN]]
        lines += [f"  and {len(others) - _MOST_SHOWN} more"] if len(others) > _MOST_SHOWN else []
    if found["foreign_tensors"]:
        lines.append(f"left out ({found['foreign_tensors']}): optimizer state, counters, constants")
    return "\n".join(lines)


_HEADER = ("layer", "direction", "sizes", "layout", "dtype", "forget bias", "activations", "extras")


def _row(cell: dict[str, Any]) -> tuple[str, ...]:
    sizes = f"{cell['input_size']} -> {cell['num_units']}"
    sizes += f" -> {cell['num_proj']}" if cell["num_proj"] else ""
    bias = "must be stated" if cell["forget_bias"] is None else f"{cell['forget_bias']:g}"
    gates, act = cell["recurrent_activation"], cell["activation"]
    acts = f"{gates}, {act}" if act else "not stored"
    extras = ["peepholes"] if cell["use_peepholes"] else []
    for clip in ("cell_clip", "proj_clip"):
        if not math.isnan(float(cell.get(clip) or math.nan)):
            extras.append(f"{clip} {cell[clip]:g}")
    return (
        str(cell["layer"]),
        cell["direction"],
        sizes,
        cell["layout"],
        cell["dtype"],
        bias,
        acts,
        ", ".join(extras),
    )


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    table = [_HEADER, *rows]
    widths = [max(len(row[k]) for row in table) for k in range(len(_HEADER))]
    return [
        "  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
