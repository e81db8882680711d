"""Whether the library is right: every path against float64, the same bits every time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from abi import PATHS, Array, Library
from layer import TOLERANCES, Call, Layer, Options, dtype_and_math, random_cell
from sections import Section

OPTIONS = {
    "plain": Options(),
    "all": Options(peepholes=True, cell_clip=0.4, lengths=True, state=True),
    "reverse": Options(peepholes=True, lengths=True, state=True, reverse=True),
    "projection": Options(
        peepholes=True, cell_clip=0.4, num_proj=23, lengths=True, state=True, reverse=True
    ),
    "projection clip": Options(num_proj=24, proj_clip=0.2, state=True),
}
# (T, N, I, H): odd ones, one row, sizes of each path, the sizes that are measured.
SIZES = (
    (3, 5, 7, 61),
    (12, 1, 40, 200),
    (7, 33, 19, 130),
    (2, 9, 3, 30),
    (1, 4, 5, 75),
    (20, 8, 64, 256),
    (5, 3, 32, 513),
    (4, 64, 33, 1024),
    (1000, 2, 12, 48),
)
SMOKE = (
    ((5, 5, 7, 40), "all"),
    ((5, 2, 7, 40), "reverse"),
    ((1, 2, 7, 40), "all"),
    ((5, 5, 7, 40), "projection"),
    ((5, 5, 7, 40), "projection clip"),
)
MODES = ("float32", "tf32", "tf32x3", "float16", "bfloat16", "float64")


def inputs(library: Library, size: tuple[int, ...], dtype: str, seed: int) -> Array:
    steps, batch, width, _ = size
    values = np.random.default_rng(seed).normal(size=(steps, batch, width))
    return Array(library, values.shape, dtype).write(values)


def check_one(
    library: Library,
    size: tuple[int, ...],
    mode: str,
    option: str,
    section: Section,
    graphs: bool = False,
) -> None:
    """One layer through every path that can run it; ``graphs``: the stepwise one three times."""
    steps, batch, width, units = size
    dtype, math = dtype_and_math(mode)
    options = OPTIONS[option]
    cell = random_cell(width, units, options, dtype, seed=units + steps)
    layer = Layer(library, cell, dtype, math)
    x = inputs(library, size, dtype, seed=batch)
    expected: list[np.ndarray] = []  # the same for every path
    for path in PATHS:
        plan = layer.plan(steps, batch, path)
        row = {"size": list(size), "mode": mode, "options": option, "path": path}
        row["device"] = library.index
        if plan is None or section.has_row(**row):
            continue

        def run(path: str = path, runs_as: str = plan["path"]) -> list[float]:
            call = layer.call(x, options, path)
            # Captured in the second call, launched again in the third.
            for _ in range(3 if graphs and runs_as == "stepwise" else 1):
                call.run()
                library.synchronize()
            expected[:] = expected or call.expected()
            return call.errors(expected)

        name = f"{size} {mode} {option} {path} cuda:{library.index}"
        errors = section.attempt(name, run, family=plan["path"])
        worst = None if errors is None else max(errors)
        ok = worst is not None and worst <= TOLERANCES[mode]  # false for NaN
        section.row(**row, runs_as=plan["path"], kernel=plan["kernel"], error=worst, ok=ok)
        if not ok and worst is not None:
            section.say(f"WRONG {size} {mode} {option} {path}: {worst}")
    layer.close()


def smoke(library: Library, section: Section, file: Path, cublas: str | None) -> None:
    """Every path in every mode, on the first GPU and on the second where there is one.

    Of the stepwise path each kernel: of a cell, of few rows, of many; from the second call on as a
    graph.
    """
    count = library.device_count()
    section.put(devices=count)
    for index in range(min(count, 2)):
        on = Library(file, cublas, index) if index else library
        for mode in MODES:
            for size, option in SMOKE:
                check_one(on, size, mode, option, section, graphs=True)
    _summary(section)


def cases(quick: bool, emulated: bool) -> Iterator[tuple[tuple[int, ...], str, str]]:
    """The most telling first: a run that is cut short has seen each mode and option."""
    for size in SIZES[3:5] if emulated else SIZES[:3] if quick else SIZES:
        for option in OPTIONS:
            for mode in MODES:
                yield size, mode, option


def correctness(library: Library, section: Section, quick: bool, emulated: bool) -> None:
    todo = list(cases(quick, emulated))
    for done, (size, mode, option) in enumerate(todo):
        if not section.enough(2):
            section.say(f"cut short after {done} of {len(todo)} cases")
            break
        check_one(library, size, mode, option, section)
        if done % 20 == 0:
            section.say(f"{done + 1} of {len(todo)}: {size} {mode} {option}")
    _summary(section)


def _summary(section: Section) -> None:
    rows = section.data["rows"]
    wrong = sum(not row["ok"] and row["error"] is not None for row in rows)
    failed = sum(row["error"] is None for row in rows)
    section.put(checked=len(rows) - failed, wrong=wrong, without_result=failed)
    section.say(f"{len(rows) - failed} calls compared with float64, {wrong} wrong; {failed} failed")


def determinism(library: Library, section: Section, quick: bool, emulated: bool) -> None:
    """The bits of 20 repeated calls, between which other sizes run."""
    sizes = ((60, 1, 40, 256), (40, 32, 64, 512), (20, 64, 64, 1024))
    runs = 20
    if emulated:
        sizes, runs = ((6, 5, 7, 13),), 3
    elif quick:
        sizes = sizes[1:2]
    between = small_call(library)
    for size in sizes:
        for mode in MODES[:-1]:
            if section.enough(3):
                section.attempt(
                    f"{size} {mode}",
                    lambda: _repeat(library, section, size, mode, runs, between),  # noqa: B023
                )
    section.say(f"{len(section.data['rows'])} calls repeated {runs} times")


def small_call(library: Library) -> Call:
    layer = Layer(library, random_cell(8, 20, Options(), "float32", 1), "float32")
    return layer.call(inputs(library, (5, 3, 8, 20), "float32", 2))


def _repeat(
    library: Library, section: Section, size: tuple[int, ...], mode: str, runs: int, between: Call
) -> None:
    steps, batch, width, units = size
    dtype, math = dtype_and_math(mode)
    options = OPTIONS["all"]
    layer = Layer(library, random_cell(width, units, options, dtype, 3), dtype, math)
    x = inputs(library, size, dtype, 4)
    for path in PATHS[1:]:
        if layer.plan(steps, batch, path) is None:
            continue
        row = {"size": list(size), "mode": mode, "path": path}
        if section.has_row(**row):
            continue

        def results(path: str = path) -> set[bytes]:
            call, seen = layer.call(x, options, path), set()
            for _ in range(runs):
                call.run()
                between.run()
                library.synchronize()
                seen.add(b"".join(out.bits().tobytes() for out in call.outputs()))
            return seen

        seen = section.attempt(f"{size} {mode} {path}", results, family=path)
        if seen is None:
            continue
        section.row(**row, runs=runs, different=len(seen))
        if len(seen) != 1:
            section.say(f"NOT REPEATABLE {size} {mode} {path}: {len(seen)} results")
    layer.close()


def tiny(library: Library, path: str) -> list[str]:
    """Three steps and one through a path, with every kernel that it has; those that were wrong."""
    wrong = []
    kinds = [("float32", "fma", "all"), ("bfloat16", "fma", "all"), ("bfloat16", "mma", "all")]
    kinds += [("float32", "fma", "projection")]
    kinds += [("float32", "fma", "projection clip")] if path == "stepwise" else []
    for dtype, kernel, option in kinds:
        options = OPTIONS[option]
        layer = Layer(library, random_cell(4, 24, options, dtype, 5), dtype, kernel=kernel)
        for steps, batch in ((3, 5), (3, 2), (1, 1)):
            if layer.plan(steps, batch, path) is None:
                continue
            call = layer.call(inputs(library, (steps, batch, 4, 24), dtype, 6), options, path)
            call.run()
            library.synchronize()
            if not max(call.errors()) <= TOLERANCES[dtype]:
                wrong.append(f"{path} {dtype} {kernel}")
            print(f"tiny: {path} {dtype} {kernel} {option} T{steps} N{batch}", flush=True)
        layer.close()
    return wrong
