"""Builds the CUDA library on a machine with a GPU, checks it, and measures it against cuDNN.

    python3 bench/gpu_report.py --name h100

Under 9 minutes on an H100 with 16 cores, without a network; docs/gpu.md says what the machine must
have. Each phase runs in a process of its own with a time limit: one that hangs, fails or takes the
GPU's context down is started again without the case that did it, and leaves the other phases.
bench/results/gpu-NAME.json has what was measured so far at any moment; ``--phases`` runs some again
and keeps the rest of it. Exits with 1 where there is no GPU, where a phase failed or a result was
wrong. ``bench/gpu/document.py`` makes the documentation from it.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE / "gpu"))

import build  # noqa: E402
import calibration  # noqa: E402
import checks  # noqa: E402
import device  # noqa: E402
import interop  # noqa: E402
import processes  # noqa: E402
import products  # noqa: E402
import programs  # noqa: E402
import shapes  # noqa: E402
import table  # noqa: E402
import timing  # noqa: E402
import variants  # noqa: E402
from abi import Library  # noqa: E402
from sections import AGAIN, Report, Section, read_trying, trying_file  # noqa: E402

# Seconds each may take, together under nine minutes. What ends early leaves its time to the others.
PHASES = {
    "environment": 20,
    "build": 110,
    "smoke": 25,
    "correctness": 50,
    "device_tests": 45,
    "determinism": 20,
    "calibrate": 40,
    "overlap": 10,
    "benchmark": 160,
    "products": 20,
    "interop": 25,
    "sanitizer": 60,
    "variants": 240,
}
WHEN_NAMED = ("variants",)  # in --phases: there is no time for it beside the others
QUICK = {"correctness": 15, "device_tests": 30, "determinism": 5, "benchmark": 40, "sanitizer": 25}
EMULATED = ("smoke", "correctness", "determinism", "benchmark", "products", "variants")
SLOWER = 6  # an emulator on a machine that has other things to do
# Seconds without a sign of life after which a phase that goes from case to case is started again.
STALLED = {
    "smoke": 20,
    "correctness": 20,
    "determinism": 20,
    "benchmark": 40,
    "products": 30,
    "interop": 40,
    "variants": 30,
}
STARTS = 15  # of one phase, at most


def sized_for_emulator(shape: shapes.Shape) -> shapes.Shape:
    """Small ones that run the same code in seconds."""
    return shapes.Shape(3, min(shape.N, 2), 3, 10 + shape.H // 128, shape.in_cluster, shape.target)


def run_phase(arguments: argparse.Namespace, name: str) -> None:
    processes.stop_all_on_terminate()
    section = Section(Report(arguments.out), name, arguments.seconds, arguments.again)
    if not section.succeeds(name, lambda: work_of(arguments, name, section)):
        sys.exit(1)
    section.finish()


def work_of(arguments: argparse.Namespace, name: str, section: Section) -> None:
    folder, quick, emulated = arguments.build, arguments.quick, arguments.emulated
    if name == "environment":
        device.environment(section)
    elif name == "build":
        build.build(section, folder)
    elif name == "device_tests":
        programs.device_tests(section, folder)
    elif name == "overlap":
        programs.overlap(section, folder)
    elif name == "sanitizer":
        programs.sanitizer(section, folder, arguments.library, quick)
    elif name == "interop":
        interop.interop(section, folder, arguments.library)
    elif name == "products":
        timer_of = functools.partial(timer_for, emulated)
        products.products(section, arguments.library, arguments.cublas, timer_of, emulated)
    else:
        library = Library(arguments.library, arguments.cublas)
        section.put(cublas_version=library.cublas_version())
        if name == "calibrate":
            calibration.calibrate(section, folder, library)
        elif name == "benchmark":
            measure(library, section, quick, emulated)
        elif name == "variants":
            chosen = shapes_of(quick, emulated)[0]
            variants.variants(library, section, chosen, timer_for(emulated, library))
        elif name == "determinism":
            checks.determinism(library, section, quick, emulated)
        elif name == "smoke":
            checks.smoke(library, section, arguments.library, arguments.cublas)
        else:
            checks.correctness(library, section, quick, emulated)


def timer_for(emulated: bool, library: Library) -> timing.HostTimer | timing.TorchTimer:
    """Events and graphs need torch; without it times are those of the host's clock."""
    if emulated or not importlib.util.find_spec("torch"):
        return timing.HostTimer(library.synchronize)
    return timing.TorchTimer()


def shapes_of(quick: bool, emulated: bool) -> tuple[tuple[shapes.Shape, ...], tuple[str, ...]]:
    """To be measured, in these modes."""
    if emulated:
        return tuple(sized_for_emulator(s) for s in shapes.SHAPES[3:4]), shapes.MODES
    if quick:
        return (shapes.SHAPES[0], shapes.SHAPES[4]), ("float32", "bfloat16")
    return shapes.SHAPES, shapes.MODES


def measure(library: Library, section: Section, quick: bool, emulated: bool) -> None:
    import benchmark

    chosen, modes = shapes_of(quick, emulated)
    benchmark.benchmark(library, section, chosen, modes, timer_for(emulated, library))


def start(arguments: argparse.Namespace, name: str, seconds: float, again: bool) -> processes.Done:
    """The phase in a process of its own."""
    command: list[object] = [sys.executable, Path(sys.argv[0]).resolve(), "--phase", name]
    command += ["--seconds", f"{seconds:.0f}", "--out", arguments.out]
    command += ["--build", arguments.build, "--library", arguments.library]
    command += ["--cublas", arguments.cublas] if arguments.cublas else []
    options = {"--emulated": arguments.emulated, "--quick": arguments.quick, "--again": again}
    command += [option for option, wanted in options.items() if wanted]
    signs, began = (arguments.out, trying_file(arguments.out)), time.time()

    def stalled() -> str:
        latest = max([began, *(sign.stat().st_mtime for sign in signs if sign.exists())])
        silent = time.time() - latest
        limit = STALLED.get(name, seconds + 15)
        return f"no sign of life for {limit:.0f} s" if silent > limit else ""

    # A phase looks at the time itself; this is for one that hangs.
    return processes.run(command, seconds + 10, show=True, stalled=stalled)


def run_to_end(arguments: argparse.Namespace, name: str, end: float) -> str:
    """Starts the phase, again where a case ended it; the reason where it did not end well."""
    reason = "no time was left"
    for count in range(STARTS):
        seconds = end - time.monotonic()
        if seconds < 5:
            return reason
        done = start(arguments, name, seconds, again=count > 0)
        reason = "CUDA could do no more" if done.code == AGAIN else done.reason
        if not reason:
            return ""
        what, family = read_trying(arguments.out)
        trying_file(arguments.out).unlink(missing_ok=True)
        if not what:
            return reason
        print(f"=== {name}: {reason}, at {what}", flush=True)
        report = Report(arguments.out)
        part = report.data["sections"].setdefault(name, {})
        part.setdefault("lost", []).append({"what": what, "family": family, "why": reason})
        report.save()
    return f"{reason}; started {STARTS} times"


def phases_of(arguments: argparse.Namespace) -> list[str]:
    return [
        name
        for name in PHASES
        if (name in arguments.phases if arguments.phases else name not in WHEN_NAMED)
        and (not arguments.emulated or name in EMULATED)
        and not (arguments.no_build and name == "build")
    ]


def require_gpu() -> None:
    """SystemExit where there is none, before anything is written."""
    if reason := device.why_no_gpu():
        raise SystemExit(
            f"There is no NVIDIA GPU: {reason}. Nothing was measured or written.\n"
            "Without one, bench/gpu/build.py FOLDER --architecture 90a builds for a GPU elsewhere, "
            "and --emulated --library FILE runs what an emulated library can."
        )


def set_aside(report: Path) -> None:
    """Keeps the report of an earlier run beside the one that begins."""
    if report.exists():
        old = report.with_name(report.name + ".old")
        report.replace(old)
        print(f"the earlier report is now {old}", flush=True)


def run_all(arguments: argparse.Namespace) -> bool:
    """Whether all phases ended well and found nothing wrong."""
    processes.stop_all_on_terminate()
    began = time.monotonic()
    chosen = phases_of(arguments)
    if not arguments.emulated:
        require_gpu()
    trying_file(arguments.out).unlink(missing_ok=True)
    if not arguments.phases:
        set_aside(arguments.out)
    report = Report(arguments.out)
    report.data.update(date=datetime.datetime.now().isoformat(timespec="seconds"), started=chosen)
    report.data.update(emulated=arguments.emulated, quick=arguments.quick, commit=commit())
    report.save()
    for name in chosen:
        left = arguments.limit - (time.monotonic() - began)
        budget = (QUICK if arguments.quick else {}).get(name, PHASES[name])
        seconds = min(budget * (SLOWER if arguments.emulated else 1), left - 12)
        print(f"=== {name} ({time.monotonic() - began:.0f} s, {left:.0f} s left)", flush=True)
        reason = run_to_end(arguments, name, time.monotonic() + seconds)
        if reason:
            print(f"=== {name}: {reason}", flush=True)
            report = Report(arguments.out)
            report.data["sections"].setdefault(name, {})["failed"] = reason
            report.save()
    report = Report(arguments.out)
    report.data["seconds"] = round(time.monotonic() - began, 1)
    report.save(indent=1)
    print(table.text(report.data))
    print(f"{arguments.out} after {time.monotonic() - began:.0f} s")
    if bad := table.failed(report.data, chosen):
        print(f"not well: {', '.join(bad)}")
    return not bad


def commit() -> str | None:
    try:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def tiny(arguments: argparse.Namespace) -> None:
    """A few steps through one path, for a sanitizer."""
    wrong = checks.tiny(Library(arguments.library, arguments.cublas), arguments.tiny)
    print("tiny: done" if not wrong else f"tiny: wrong in {wrong}", flush=True)
    sys.exit(1 if wrong else 0)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--name", default="report",
        help="the report is bench/results/gpu-NAME.json (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, help="another file for it, or a folder that is there (bench/results)"
    )
    parser.add_argument("--limit", type=float, default=525, help="seconds in all (%(default)s)")
    parser.add_argument(
        "--phases", nargs="+", choices=list(PHASES), metavar="PHASE",
        help="only these, and the report keeps the others; without it all but "
        f"{', '.join(WHEN_NAMED)}: %(choices)s",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="fewer cases of each phase")
    parser.add_argument(
        "--build", type=Path, default=ROOT / "build" / "gpu",
        help="the folder to build in; what cannot be built there may be in it already (build/gpu)",
    )  # fmt: skip
    parser.add_argument("--no-build", action="store_true", help="all is in that folder already")
    parser.add_argument("--library", type=Path, help="a built one, in place of that of --build")
    parser.add_argument("--cublas", help="the cuBLAS to load, if not that of PyPI's packages")
    parser.add_argument(
        "--emulated", action="store_true", help="only what needs no GPU, on an emulated --library"
    )
    # How the script calls itself.
    parser.add_argument("--phase", choices=list(PHASES), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=60, help=argparse.SUPPRESS)
    parser.add_argument("--again", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--tiny", metavar="PATH", help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    file = f"gpu-{arguments.name}.json"
    if arguments.out is None:
        arguments.out = ROOT / "bench" / "results" / file
    elif arguments.out.is_dir():
        arguments.out /= file
    arguments.out = arguments.out.resolve()
    arguments.build = arguments.build.resolve()
    arguments.library = (arguments.library or build.library_in(arguments.build)).resolve()
    return arguments


def main() -> None:
    arguments = parse()
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    if arguments.tiny:
        tiny(arguments)
    elif arguments.phase:
        run_phase(arguments, arguments.phase)
    elif not run_all(arguments):
        sys.exit(1)


if __name__ == "__main__":
    main()
