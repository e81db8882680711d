"""Every kernel and size of a group that a persistent path can have, for who tunes the planner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import timing
from abi import PATHS, Array, Library
from layer import Layer, Options, dtype_and_math, random_cell
from sections import Section
from shapes import Shape

ROWS = {"fma": (1, 4, 8), "mma": (8, 16, 32)}  # of a group
MODES = ("float32", "bfloat16", "tf32")


def each(modes: Sequence[str], shapes: Sequence[Shape]) -> Iterator[tuple[Shape, str, str, int]]:
    """Shape, mode, kernel, rows; no group is larger than twice the batch needs."""
    for shape in shapes:
        for mode in modes:
            for kernel, sizes in ROWS.items():
                if kernel == "mma" and mode == "float32":
                    continue
                for rows in sizes:
                    if rows == sizes[0] or rows < 2 * shape.N:
                        yield shape, mode, kernel, rows


def variants(library: Library, section: Section, shapes: Sequence[Shape], timer: Any) -> None:
    for shape, mode, kernel, rows in each(MODES, shapes):
        if not section.enough(3):
            section.say("cut short")
            return
        name = f"{shape.name} {mode} {kernel} rows {rows}"
        section.attempt(
            name,
            lambda: _measure(library, section, shape, mode, kernel, rows, timer),  # noqa: B023
        )


def _measure(
    library: Library, section: Section, shape: Shape, mode: str, kernel: str, rows: int, timer: Any
) -> None:
    dtype, math = dtype_and_math(mode)
    cell = random_cell(shape.I, shape.H, Options(), dtype, 1)
    layer = Layer(library, cell, dtype, math, kernel, rows)
    size = (shape.T, shape.N, shape.I)
    rng = np.random.default_rng(2)
    arrays = [Array(library, size, dtype).write(rng.normal(size=size)) for _ in range(2)]
    for path in PATHS[2:]:
        plan = layer.plan(shape.T, shape.N, path)
        row = {"shape": shape.name, "mode": mode, "plan": plan}
        if plan is None or section.has_row(**row):
            continue
        calls = [layer.call(x, path=path) for x in arrays]
        runs = [lambda c=c: c.run(timer.current_stream()) for c in calls]
        measured = section.attempt(
            f"{shape.name} {mode} {kernel} rows {rows} {path}",
            lambda: timing.measure(timer, runs, 0.15, repeats=20),  # noqa: B023
            family=path,
        )
        if measured:
            section.row(**row, best_us=measured["gpu_us"], **measured)
            section.say(f"{shape.name} {mode} {path} {kernel} rows {rows}: {measured['gpu_us']} us")
    layer.close()
