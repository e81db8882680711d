"""Builds the library, its test program and the calibration for the GPU at hand."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from abi import ROOT
from sections import Section


def nvcc() -> str:
    home = os.environ.get("CUDA_PATH") or os.environ.get("CUDA_HOME") or "/usr/local/cuda"
    found = shutil.which("nvcc") or shutil.which("nvcc", path=f"{home}/bin")
    if not found:
        raise RuntimeError("nvcc is neither on PATH nor under CUDA_PATH or /usr/local/cuda")
    return found


def cmake() -> list[str]:
    if found := shutil.which("cmake"):
        return [found]
    if importlib.util.find_spec("cmake"):
        return [sys.executable, "-m", "cmake"]
    raise RuntimeError("cmake is needed: neither a program nor the Python package is there")


def architecture(major: int, minor: int) -> str:
    """As nvcc names it; "a" where the instructions of that chip alone are used."""
    return f"{major}{minor}{'a' if (major, minor) == (9, 0) else ''}"


def compute_capability() -> tuple[int, int]:
    """Of the first GPU, from nvidia-smi; from torch, which takes seconds, where that fails."""
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        major, minor = done.stdout.split()[0].split(".")
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        import torch

        major, minor = torch.cuda.get_device_capability(0)
    return int(major), int(minor)


def run(section: Section, command: list[str | Path], **options: object) -> str:
    """The output; RuntimeError with its end where the command fails or takes too long."""
    words = [str(part) for part in command]
    section.say(" ".join(words)[:160])
    limit = max(section.left, 5)
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=limit, **options)  # type: ignore[call-overload]
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{words[0]}: not done after {limit:.0f} s") from error
    if done.returncode:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}: "
                           f"{(done.stdout + done.stderr)[-1500:]}")  # fmt: skip
    return str(done.stdout)


def library_in(folder: Path) -> Path:
    return folder / "cuda" / "liblstmcore_cuda.so"


def configure(section: Section, folder: Path, arch: str, python: bool) -> None:
    # The library has kernels for clusters and wants an architecture that has these.
    architectures = f"{arch}-real" if int(arch.rstrip("a")) >= 90 else f"{arch}-real;90a-real"
    options = [
        "-DLSTMCORE_CUDA=ON",
        "-DLSTMCORE_TESTS=ON",
        "-DLSTMCORE_BENCH=OFF",
        f"-DLSTMCORE_CUDA_ARCHITECTURES={architectures}",
        f"-DCMAKE_CUDA_COMPILER={nvcc()}",
        f"-DLSTMCORE_PYTHON={'ON' if python else 'OFF'}",
    ]
    if python:
        import pybind11

        options.append(f"-Dpybind11_DIR={pybind11.get_cmake_dir()}")
        options.append(f"-DPython_EXECUTABLE={sys.executable}")
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    run(section, [*cmake(), "-S", ROOT, "-B", folder, *generator, *options])


def build(section: Section, folder: Path) -> None:
    """The library first: what else fails leaves it there."""
    arch = architecture(*compute_capability())
    section.put(architecture=arch)
    python = importlib.util.find_spec("pybind11") is not None
    if python:  # Python's headers may be missing all the same
        what = "with Python"
        python = section.attempt(what, lambda: configure(section, folder, arch, True) or True)
    if not python:
        configure(section, folder, arch, False)
    jobs = str(os.cpu_count() or 2)
    for target in ["lstmcore_cuda", "test_cuda_device", *(["_core"] if python else [])]:
        command = [*cmake(), "--build", folder, "--parallel", jobs, "--target", target]
        if section.attempt(target, lambda: run(section, command)) is not None:  # noqa: B023
            section.row(target=target, after_s=round(section.elapsed, 1))
        if target == "lstmcore_cuda":
            section.attempt("calibrate", lambda: calibration(section, folder, arch))
    if not library_in(folder).exists():
        raise RuntimeError("there is no library")
    section.put(library_bytes=library_in(folder).stat().st_size, python=bool(python))


def calibration(section: Section, folder: Path, arch: str) -> None:
    source = ROOT / "bench" / "gpu" / "calibrate.cu"
    run(section, [nvcc(), "-std=c++17", "-O3", f"-I{ROOT / 'cuda'}", f"-I{ROOT / 'src'}",
                  f"-gencode=arch=compute_{arch},code=sm_{arch}",
                  source, "-o", folder / "calibrate"])  # fmt: skip
    section.row(target="calibrate")


def package(folder: Path) -> Path:
    """lstmcore as a folder to put on sys.path: its Python files with what was built."""
    place = folder / "package"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(ROOT / "python" / "lstmcore", place / "lstmcore")
    (module,) = folder.glob("_core*.so")
    for file in (module, library_in(folder)):
        shutil.copy(file, place / "lstmcore")
    return place
