"""One module per engine: ``variants(case, inputs, threads)`` gives its ways of computing a case,
``version()`` what is measured.

A module is imported in a process of its own, with the thread limits of ``environment`` set.
"""

from __future__ import annotations

#: Name of an engine: the package that must be importable.
REQUIRES = {
    "lstmcore": "lstmcore",
    "numpy": "numpy",
    "torch": "torch",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "tensorflow": "tensorflow",
}


def environment(threads: int) -> dict[str, str]:
    """Variables that hold any engine's libraries to ``threads``."""
    count = str(threads)
    names = ("OMP", "OPENBLAS", "MKL", "LSTMCORE")
    return {f"{name}_NUM_THREADS": count for name in names} | {"TF_CPP_MIN_LOG_LEVEL": "3"}
