"""The stepwise path with each cuBLAS at hand, and with the library's own product."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timing
from abi import Array, Library, cublas_files
from layer import Layer, Options, dtype_and_math, random_cell
from sections import Section

SIZES = ((100, 32, 512, 512), (100, 64, 1024, 1024))
MODES = ("float32", "tf32", "bfloat16")


def products(
    section: Section,
    file: Path,
    cublas: str | None,
    timer_of: Callable[[Library], Any],
    small: bool,
) -> None:
    """``timer_of`` a library; ``small``: sizes for an emulator."""
    chosen = [cublas] if cublas else [str(found) for found in cublas_files()]
    for which in [*chosen, "none"]:
        library = section.attempt(f"cuBLAS {which}", lambda: Library(file, which))  # noqa: B023
        if library is None:
            continue
        timer = timer_of(library)
        version = library.cublas_version()
        for size in ((3, 5, 4, 9),) if small else SIZES:
            for mode in MODES:
                row = {"cublas": version, "file": which, "size": list(size), "mode": mode}
                if section.has_row(**row) or not section.enough(2):
                    continue
                measured = section.attempt(
                    f"{which} {size} {mode}",
                    lambda: _stepwise(library, timer, size, mode),  # noqa: B023
                )
                if measured:
                    section.row(**row, **measured)
                    section.say(f"cuBLAS {version} {size} {mode}: {measured['gpu_us']} us")


def _stepwise(library: Library, timer: Any, size: tuple[int, ...], mode: str) -> dict[str, Any]:
    steps, batch, width, units = size
    dtype, math = dtype_and_math(mode)
    layer = Layer(library, random_cell(width, units, Options(), dtype, 1), dtype, math)
    rng = np.random.default_rng(2)
    shape = (steps, batch, width)
    calls = [
        layer.call(Array(library, shape, dtype).write(rng.normal(size=shape)), path="stepwise")
        for _ in range(2)
    ]
    try:
        runs = [lambda c=c: c.run(timer.current_stream()) for c in calls]
        return timing.measure(timer, runs, 0.3)
    finally:
        layer.close()
