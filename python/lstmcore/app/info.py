"""``lstmcore info``: what is installed here and what it uses, for bug reports."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from typing import Any

import numpy as np

from lstmcore import _core, cuda

# Packages lstmcore runs without, and what each is for.
OPTIONAL_PACKAGES = {
    "rich": "bold headings in the terminal",
    "safetensors": "reading and writing .safetensors",
    "h5py": "reading Keras files",
    "onnx": "reading and writing ONNX",
}
# Weight formats read without any further package.
READERS = (
    "TensorFlow checkpoint V2",
    "TensorFlow frozen graph",
    "TensorFlow SavedModel variables",
    "PyTorch .pt",
)


def collect() -> dict[str, Any]:
    """The report as plain data; its keys are what ``lstmcore info --json`` promises to keep.

    ``cpu.isa`` is None where LSTMCORE_FORCE_ISA names a level that this CPU or build does not have;
    ``cpu.isa_error`` then says what to do. ``gpu.why_not`` is None where there are ``gpu.devices``
    to use.
    """
    core = _core.info()
    return {
        "lstmcore": core["version"],
        "build": {
            "compiler": core["compiler"],
            "isa_baseline": core["isa_baseline"],
            "isa_compiled": core["isa_compiled"],
        },
        "cpu": {
            "name": core["cpu"],
            "isa_found": core["isa_found"],
            "isa": core["isa"],
            "isa_forced": core["isa_forced"],
            "isa_error": core.get("isa_error"),
        },
        "threads": {"number": core["threads"], "reason": core["threads_reason"]},
        "gpu": {"devices": cuda.devices(), "why_not": cuda.why_not()},
        "memory": {"workspace_bytes": core["workspace_bytes"]},
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "readers": list(READERS),
        "optional_packages": {name: _installed(name) for name in OPTIONAL_PACKAGES},
    }


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def as_json(report: dict[str, Any]) -> str:
    """The report as indented JSON."""
    return json.dumps(report, indent=2)


def as_text(report: dict[str, Any]) -> str:
    """The report as aligned lines."""
    build, cpu, threads = report["build"], report["cpu"], report["threads"]
    forced = "forced by LSTMCORE_FORCE_ISA" if cpu["isa_forced"] else "the highest found"
    isa = cpu["isa_error"] or f"{cpu['isa']} ({forced})"
    rows = [
        ("lstmcore", report["lstmcore"]),
        ("built with", f"{build['compiler']}, baseline {build['isa_baseline']}"),
        ("ISA compiled", ", ".join(build["isa_compiled"])),
        ("CPU", cpu["name"]),
        ("ISA found", ", ".join(cpu["isa_found"])),
        ("ISA in use", isa),
        ("threads", f"{threads['number']} ({threads['reason']})"),
        *_gpu_rows(report["gpu"]),
        (
            "workspace",
            f"{report['memory']['workspace_bytes']} bytes (lstmcore.trim() gives them back)",
        ),
        ("Python", report["python"]),
        ("NumPy", report["numpy"]),
        ("platform", report["platform"]),
        ("reads", ", ".join(report["readers"])),
    ]
    for package, version in report["optional_packages"].items():
        rows.append(
            (package, f"{version or 'not installed'} (optional: {OPTIONAL_PACKAGES[package]})")
        )
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _gpu_rows(gpu: dict[str, Any]) -> list[tuple[str, str]]:
    if gpu["why_not"] is not None:
        return [("GPU", f"none: {gpu['why_not']}")]
    rows = []
    for index, device in enumerate(gpu["devices"]):
        major, minor = device["compute_capability"]
        size = f"{device['memory'] / 2**30:.1f} GiB"
        facts = f"{device['name']}, compute capability {major}.{minor}, {size}"
        rows.append((f"cuda:{index}", facts))
    return rows
