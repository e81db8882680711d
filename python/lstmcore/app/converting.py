"""``lstmcore convert``: a model file of any kind as the package's own, or as ONNX."""

from __future__ import annotations

import os
from typing import Any

from lstmcore.formats.building import Choices
from lstmcore.formats.loading import load_explained
from lstmcore.formats.saving import save
from lstmcore.formats.self_check import BOUND


def convert(
    path: str,
    target: str,
    scope: str | list[str] | None,
    choices: Choices,
    ignore: list[str],
    *,
    force: bool,
) -> dict[str, Any]:
    """Converts and reports. Raises as ``lstmcore.load`` and ``lstmcore.save``."""
    if os.path.exists(target) and not force:
        raise FileExistsError(f"{target} exists; pass --force to replace it")
    loaded = load_explained(path, scope, choices, ignore)
    save(loaded.model, target, overwrite=force)
    model = loaded.model
    return {
        "file": path,
        "written": target,
        "model": repr(model),
        "mapping": [
            {
                "target": entry.target,
                "sources": list(entry.sources),
                "shape": list(model.weights[entry.target].shape),
            }
            for entry in loaded.mapping
        ],
        "notes": loaded.notes,
        "self_check": {"difference": loaded.difference, "bound": BOUND},
        "bytes": os.path.getsize(target),
    }


def as_text(done: dict[str, Any]) -> str:
    lines = [f"{done['file']} -> {done['written']} ({done['bytes']:,} bytes)", done["model"], ""]
    width = max(len(entry["target"]) for entry in done["mapping"])
    for entry in done["mapping"]:
        shape = " x ".join(map(str, entry["shape"]))
        sources = " + ".join(entry["sources"]) or "zeros (the source has none)"
        lines.append(f"  {entry['target']:<{width}}  {shape:>12}  <- {sources}")
    lines += [f"note: {note}" for note in done["notes"]]
    check = done["self_check"]
    if check["difference"] is None:
        lines.append("checked: the SHA-256 of the weights is the one in the file")
    else:
        lines.append(
            f"self-check: the kernel differs from the source's own equations by "
            f"{check['difference']:.1e} of the outputs (bound {check['bound']:.0e})"
        )
    return "\n".join(lines)
