"""Builds the library, its test programs and what is measured without it, for the GPU at hand.

Where there is no GPU, for one that is named, to be carried to it:

    python3 bench/gpu/build.py build/gpu --architecture 90a
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import processes
from abi import ROOT
from sections import Report, Section

TESTS = tuple(
    f"test_{name}_device" for name in ("cuda", "full_memory", "mma", "projection", "stepwise")
)
PROGRAMS = ("calibrate", "overlap")  # of one source file each, in bench/gpu


def tool(name: str) -> str | None:
    """On PATH, beside this Python, or in CUDA's toolkit."""
    homes = (os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda")
    places = [sysconfig.get_path("scripts"), *(f"{home}/bin" for home in homes if home)]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(places))


def nvcc() -> str:
    if found := tool("nvcc"):
        return found
    raise RuntimeError("nvcc is neither on PATH nor under CUDA_PATH or /usr/local/cuda")


def cmake() -> list[str]:
    if found := tool("cmake"):
        return [found]
    if importlib.util.find_spec("cmake"):
        return [sys.executable, "-m", "cmake"]
    raise RuntimeError("cmake is needed: neither a program nor the Python package is there")


def architecture(major: int, minor: int) -> str:
    """As nvcc names it; "a" where the instructions of that chip alone are used."""
    return f"{major}{minor}{'a' if (major, minor) == (9, 0) else ''}"


def compute_capability() -> tuple[int, int]:
    """Of the first GPU, from nvidia-smi; from torch, which takes seconds, where that fails.

    RuntimeError where neither knows one.
    """
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        major, minor = done.stdout.split()[0].split(".")
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        try:
            import torch

            major, minor = torch.cuda.get_device_capability(0)
        except (ImportError, RuntimeError, AssertionError):  # the last: torch without CUDA
            raise RuntimeError(
                "no GPU found (nvidia-smi, torch); name an architecture with --architecture 90a"
            ) from None
    return int(major), int(minor)


def run(section: Section, command: list[str | Path]) -> str:
    """The output; RuntimeError with its end where the command fails or takes too long."""
    words = [str(part) for part in command]
    section.say(" ".join(words)[:160])
    done = processes.run(words, max(section.left, 5))
    if done.reason:
        raise RuntimeError(f"{words[0]}: {done.reason}: {done.output[-1500:]}")
    return done.output


def library_in(folder: Path) -> Path:
    return folder / "cuda" / "liblstmcore_cuda.so"


def program(folder: Path, name: str) -> Path:
    """One that was built; RuntimeError where it was not."""
    if found := sorted(path for path in folder.rglob(name) if path.is_file()):
        return found[0]
    raise RuntimeError(f"there is no {name} in {folder}")


def measurements(section: Section, folder: Path, name: str) -> Iterator[tuple[str, float, str]]:
    """Names, values and units that one of ``PROGRAMS`` prints; its errors go to the report."""
    found = section.attempt(name, lambda: program(folder, name))
    text = section.attempt(name, lambda: run(section, [found])) if found else ""
    for line in (text or "").splitlines():
        what, value, rest = line.split(maxsplit=2)
        if value == "error":
            section.error(what, rest)
        else:
            section.row(name=what, value=float(value), unit=rest)
            yield what, float(value), rest
        section.say(line)


def configure(section: Section, folder: Path, arch: str, python: bool) -> None:
    # The library has kernels for clusters and wants an architecture that has these.
    architectures = f"{arch}-real" if int(arch.rstrip("a")) >= 90 else f"{arch}-real;90a-real"
    options = [
        "-DLSTMCORE_CUDA=ON",
        "-DLSTMCORE_TESTS=ON",
        "-DLSTMCORE_BENCH=OFF",
        "-DCMAKE_BUILD_RPATH_USE_ORIGIN=ON",  # the folder may be carried elsewhere
        f"-DLSTMCORE_CUDA_ARCHITECTURES={architectures}",
        f"-DCMAKE_CUDA_COMPILER={nvcc()}",
        f"-DLSTMCORE_PYTHON={'ON' if python else 'OFF'}",
    ]
    if python:
        import pybind11

        options.append(f"-Dpybind11_DIR={pybind11.get_cmake_dir()}")
        options.append(f"-DPython_EXECUTABLE={sys.executable}")
    ninja = tool("ninja")
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else []
    run(section, [*cmake(), "-S", ROOT, "-B", folder, *generator, *options])


def build(section: Section, folder: Path, arch: str | None = None) -> None:
    """The library first: what else fails leaves it there. Or all of it may be there already."""
    folder.mkdir(parents=True, exist_ok=True)
    arch = arch or section.attempt(
        "compute capability", lambda: architecture(*compute_capability())
    )
    section.put(architecture=arch)
    with ThreadPoolExecutor() as others:
        if arch:
            for name in PROGRAMS:
                others.submit(
                    section.succeeds,
                    name,
                    lambda n=name: compile_program(section, folder, n, arch),
                )
            section.attempt("cmake", lambda: build_by_cmake(section, folder, arch))
    if not library_in(folder).exists():
        raise RuntimeError("there is no library")
    section.put(library_bytes=library_in(folder).stat().st_size)


def build_by_cmake(section: Section, folder: Path, arch: str) -> None:
    python = importlib.util.find_spec("pybind11") is not None
    if python:  # Python's headers may be missing all the same
        what = "with Python"
        python = section.attempt(what, lambda: configure(section, folder, arch, True) or True)
    if not python:
        configure(section, folder, arch, False)
    section.put(python=bool(python))
    jobs = str(os.cpu_count() or 2)
    for target in ["lstmcore_cuda", "device_tests", *(["_core"] if python else [])]:
        command = [*cmake(), "--build", folder, "--parallel", jobs, "--target", target]
        if section.attempt(target, lambda: run(section, command)) is not None:  # noqa: B023
            section.row(target=target, after_s=round(section.elapsed, 1))


def compile_program(section: Section, folder: Path, name: str, arch: str) -> None:
    source = ROOT / "bench" / "gpu" / f"{name}.cu"
    run(section, [nvcc(), "-std=c++17", "-O3", "--fmad=false", "--expt-relaxed-constexpr",
                  f"-I{ROOT / 'cuda'}", f"-I{ROOT / 'src'}", f"-I{ROOT / 'include'}",
                  f"-gencode=arch=compute_{arch},code=sm_{arch}",
                  source, "-o", folder / name])  # fmt: skip
    section.row(target=name)


def package(folder: Path, library: Path) -> Path:
    """lstmcore as a folder to put on sys.path: its Python files with what was built."""
    place = folder / "package"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(
        ROOT / "python" / "lstmcore", place / "lstmcore",
        ignore=shutil.ignore_patterns("__pycache__", "*.so"),
    )  # fmt: skip
    shutil.copy(
        program(folder, f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"), place / "lstmcore"
    )
    shutil.copy(library, place / "lstmcore" / "liblstmcore_cuda.so")
    return place


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="to build in, made where it is missing")
    parser.add_argument(
        "--architecture", help="as nvcc names it: 80, 90a (that of the first GPU at hand)"
    )
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    try:
        arch = arguments.architecture or architecture(*compute_capability())
    except RuntimeError as error:
        sys.exit(str(error))
    section = Section(Report(folder / "build.json"), "build", 3600)
    section.succeeds("build", lambda: build(section, folder, arch))
    section.finish()
    if errors := section.data.get("errors"):
        sys.exit(f"{len(errors)} errors: {folder / 'build.json'}")


if __name__ == "__main__":
    main()
