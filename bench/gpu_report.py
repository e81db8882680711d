"""Builds the CUDA library on a machine with a GPU, checks it, and measures it against cuDNN.

    python3 bench/gpu_report.py --name h100

Under 9 minutes on an H100 with 16 cores; needs nvcc, cmake, NumPy and torch, and no network. Each
part runs in a process of its own with a time limit, so that one which fails, or takes the GPU's
context down, leaves the others; bench/results/gpu-NAME.json has what was measured so far at any
moment. ``bench/gpu/document.py`` makes the documentation from it.
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE / "gpu"))

import build  # noqa: E402
import checks  # noqa: E402
import device  # noqa: E402
import shapes  # noqa: E402
import table  # noqa: E402
import timing  # noqa: E402
from abi import Library  # noqa: E402
from sections import Report, Section  # noqa: E402

# Seconds each may take, in the order of what is worth most; together under nine minutes.
SECTIONS = {
    "environment": 20,
    "build": 100,
    "smoke": 20,
    "calibrate": 45,
    "benchmark": 170,
    "correctness": 60,
    "determinism": 25,
    "sanitizer": 60,
    "device_test": 20,
    "python_call": 20,
}
WITHOUT_GPU = ("smoke", "correctness", "determinism", "benchmark")


def sized_for_emulator(shape: shapes.Shape) -> shapes.Shape:
    """Small ones that run the same code in seconds."""
    return shapes.Shape(3, min(shape.N, 2), 3, 10 + shape.H // 128, shape.in_cluster, shape.target)


def run_section(arguments: argparse.Namespace, name: str) -> None:
    report = Report(arguments.out)
    section = Section(report, name, arguments.seconds)
    emulated = arguments.no_torch
    try:
        if name == "environment":
            device.environment(section)
        elif name == "build":
            build.build(section, arguments.build)
        elif name == "calibrate":
            device.calibrate(section, arguments.build)
        elif name in ("device_test", "sanitizer", "python_call"):
            getattr(device, name)(section, arguments.build)
        else:
            library = Library(arguments.library, arguments.cublas)
            if name == "benchmark":
                measure(library, section, emulated)
            elif name == "determinism":
                checks.determinism(library, section, emulated)
            else:
                checks.correctness(library, section, name == "smoke", emulated)
    finally:
        section.finish()


def measure(library: Library, section: Section, emulated: bool) -> None:
    import benchmark  # its peer is torch; without one it measures us alone

    timer = timing.HostTimer(library.synchronize) if emulated else timing.TorchTimer()
    chosen = shapes.SHAPES
    if emulated:
        chosen = tuple(sized_for_emulator(s) for s in chosen[3:4])
    benchmark.benchmark(library, section, chosen, timer)


def start_section(arguments: argparse.Namespace, name: str, seconds: float) -> str | None:
    """Runs it in a process of its own; the reason where it did not end well."""
    command = [sys.executable, str(Path(__file__).resolve()), "--section", name]
    command += ["--seconds", f"{seconds:.0f}", "--out", str(arguments.out)]
    command += ["--build", str(arguments.build), "--library", str(arguments.library)]
    command += ["--cublas", arguments.cublas] if arguments.cublas else []
    command += ["--no-torch"] if arguments.no_torch else []
    try:
        # A section looks at the time itself; this is for one that hangs.
        done = subprocess.run(command, timeout=seconds + 15)
    except subprocess.TimeoutExpired:
        return f"killed after {seconds + 15:.0f} s"
    return f"ended with {done.returncode}" if done.returncode else None


def run_all(arguments: argparse.Namespace) -> None:
    start = time.monotonic()
    chosen = [
        name
        for name in SECTIONS
        if (not arguments.sections or name in arguments.sections)
        and (not arguments.no_torch or name in WITHOUT_GPU)
    ]
    arguments.out.unlink(missing_ok=True)
    report = Report(arguments.out)
    report.data.update(date=datetime.datetime.now().isoformat(timespec="seconds"), started=chosen)
    report.data["emulated"] = arguments.no_torch
    report.data["commit"] = commit()
    report.save()
    for name in chosen:
        left = arguments.limit - (time.monotonic() - start)
        seconds = min(SECTIONS[name], left - 15)
        print(f"=== {name} ({time.monotonic() - start:.0f} s, {left:.0f} s left)", flush=True)
        reason = start_section(arguments, name, seconds) if seconds > 5 else "no time was left"
        if reason:
            print(f"=== {name}: {reason}", flush=True)
            report = Report(arguments.out)
            report.data["sections"].setdefault(name, {})["failed"] = reason
            report.save()
    report = Report(arguments.out)
    report.data["seconds"] = round(time.monotonic() - start, 1)
    report.save()
    print(table.text(report.data))
    print(f"{arguments.out} after {time.monotonic() - start:.0f} s")


def commit() -> str | None:
    try:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def tiny(arguments: argparse.Namespace) -> None:
    """Three steps through each path, for a sanitizer."""
    library = Library(arguments.library, arguments.cublas)
    wrong = checks.tiny(library)
    print("tiny: done" if not wrong else f"tiny: wrong in {wrong}", flush=True)
    sys.exit(1 if wrong else 0)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="report", help="of the file in bench/results")
    parser.add_argument("--out", type=Path, help="the file, or a folder for it")
    parser.add_argument("--limit", type=float, default=525, help="seconds in all (%(default)s)")
    parser.add_argument("--sections", nargs="+", choices=list(SECTIONS))
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--library", type=Path, help="a built one, in place of that of --build")
    parser.add_argument("--cublas", help="the cuBLAS to load, if not that of PyPI's packages")
    parser.add_argument(
        "--no-torch", action="store_true", help="only what needs no GPU, on an emulated --library"
    )
    # How the script calls itself.
    parser.add_argument("--section", choices=list(SECTIONS), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=60, help=argparse.SUPPRESS)
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    file = f"gpu-{arguments.name}.json"
    if arguments.out is None:
        arguments.out = ROOT / "bench" / "results" / file
    elif arguments.out.is_dir():
        arguments.out /= file
    arguments.out = arguments.out.resolve()
    arguments.build = arguments.build.resolve()
    if arguments.library is None:
        arguments.library = build.library_in(arguments.build)
    return arguments


def main() -> None:
    arguments: Any = parse()
    if arguments.tiny:
        tiny(arguments)
    elif arguments.section:
        run_section(arguments, arguments.section)
    else:
        run_all(arguments)


if __name__ == "__main__":
    main()
