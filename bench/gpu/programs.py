"""Other programs that run on the GPU: the C++ tests, CUDA's sanitizer, overlapping kernels."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import build
import processes
from abi import PATHS, cublas_files
from sections import Section

SKIPPED = 77
CHECKS = ("memcheck", "racecheck", "synccheck")
# C++ tests under memcheck, after the tiny calls: the cases whose names have these parts.
SANITIZED_TESTS = (("test_stepwise_device", "T1 N1 "), ("test_mma_device", "T3 N1 "))
LONGEST = 25.0  # seconds of one program under a sanitizer


def environment(**more: str) -> dict[str, str]:
    """Where the loader finds cuBLAS."""
    files = cublas_files()
    first = [str(files[0].parent)] if files else []
    folders = [*first, *filter(None, [os.environ.get("LD_LIBRARY_PATH", "")])]
    chosen = {"LSTMCORE_CUBLAS": str(files[0])} if files else {}
    return {**os.environ, **chosen, "LD_LIBRARY_PATH": ":".join(folders), **more}


def device_tests(section: Section, folder: Path) -> None:
    """tests/cuda on this GPU: paths, dtypes and options against the CPU kernels."""
    for name in build.TESTS:
        program = section.attempt(name, lambda: build.program(folder, name))  # noqa: B023
        if program is None or not section.enough(3):
            continue
        done = processes.run([program], section.left, env=environment())
        lines = done.output.splitlines()
        reason = "skipped: there is no GPU" if done.code == SKIPPED else done.reason
        section.row(test=name, passed=not reason, reason=reason, output=lines[-30:])
        section.say(f"{name}: {reason or 'passed'}: {lines[-1] if lines else ''}")
    section.put(passed=[row["passed"] for row in section.data["rows"]] == [True] * len(build.TESTS))


def overlap(section: Section, folder: Path) -> None:
    """Time of a step inside a graph where kernels may start early, and where they may not."""
    for _ in build.measurements(section, folder, "overlap"):
        pass  # they are in the report


def sanitizer(section: Section, folder: Path, library: Path, quick: bool) -> None:
    """compute-sanitizer over a few calls of every path, in processes without torch.

    Kernels that wait for one another are slow under it: each path is a program of its own.
    """
    tool = build.tool("compute-sanitizer")
    if not tool:
        raise RuntimeError("there is no compute-sanitizer")
    script = [sys.executable, Path(__file__).parents[1] / "gpu_report.py", "--library", library]
    jobs: list[tuple[str, str, list[object], dict[str, str]]] = [
        (check, path, [*script, "--tiny", path], {})
        for check in (CHECKS[:1] if quick else CHECKS)
        for path in PATHS[1:]
    ]
    for name, part in () if quick else SANITIZED_TESTS:
        found = section.attempt(name, lambda: build.program(folder, name))  # noqa: B023
        if found:
            jobs.append(("memcheck", name, [found], {"LSTMCORE_CUDA_CASES": part}))
    for check, what, program, more in jobs:
        if not section.enough(4):
            return
        options = ["--tool", check, "--target-processes", "all", "--error-exitcode", "9"]
        limit = min(section.left, LONGEST)
        done = processes.run([tool, *options, *program], limit, env=environment(**more))
        row = {"tool": check, "what": what, **verdict(done)}
        section.row(**row)
        section.say(f"{check} {what}: {row['summary']} {row['reason']}")


def verdict(done: processes.Done) -> dict[str, Any]:
    """``clean``: what the sanitizer says; None where it did not get as far as a summary.

    ``right``: whether the program itself found its results right.
    """
    found = re.findall(r"=+ ((?:ERROR|RACECHECK) SUMMARY: (\d+).*)", done.output)
    clean = all(count == "0" for _, count in found) if found and done.code is not None else None
    return {
        "clean": clean,
        "right": "tiny: done" in done.output or " 0 failures" in done.output,
        "summary": [line for line, _ in found[-1:]],
        "reason": done.reason,
        "output": "" if clean and not done.reason else done.output[-3000:],
    }
