"""What the machine is, and what is installed on it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from typing import Any

import build
import processes
from abi import cublas_files
from sections import Section

GPU = (
    "name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit,mig.mode.current,"
    "compute_mode,utilization.gpu"
)
TOOLS = ("nvcc", "cmake", "ninja", "c++", "compute-sanitizer", "ncu", "nsys")
PACKAGES = ("torch", "cupy-cuda12x", "cupy-cuda13x", "jax", "pybind11", "nvidia-cublas",
            "nvidia-cublas-cu12", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "numpy")  # fmt: skip
VARIABLES = ("CUDA_MODULE_LOADING", "CUDA_VISIBLE_DEVICES", "CUDA_MPS_PIPE_DIRECTORY",
             "LSTMCORE_CUBLAS", "CUDA_DEVICE_MAX_CONNECTIONS")  # fmt: skip

# In a process of its own: a driver may hang, or keep what it has set up.
COUNT = """
import ctypes, sys
try:
    driver = ctypes.CDLL("libcuda.so.1")
except OSError:
    sys.exit("libcuda.so.1 of NVIDIA's driver was not found")
count = ctypes.c_int()
if code := driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
    sys.exit(f"NVIDIA's driver answers with error {code}")
if not count.value:
    sys.exit("NVIDIA's driver shows none")
"""


def why_no_gpu() -> str:
    """From the driver, which is what the library asks; empty where there is one."""
    done = processes.run([sys.executable, "-c", COUNT], 60)
    if not done.reason:
        return ""
    found = "is there" if build.tool("nvidia-smi") else "was not found"
    return f"{done.output.strip() or done.reason}, nvidia-smi {found}"


def environment(section: Section) -> None:
    section.put(python=platform.python_version(), cpus=os.cpu_count(), kernel=platform.release())
    section.put(tools={name: build.tool(name) for name in TOOLS}, packages=installed())
    section.put(variables={name: os.environ[name] for name in VARIABLES if name in os.environ})
    section.put(cublas=[str(file) for file in cublas_files()])
    section.put(gpus=section.attempt("nvidia-smi", gpus))
    section.put(nvcc=section.attempt("nvcc", nvcc_version))
    if section.data["packages"].get("torch"):
        section.put(torch=section.attempt("torch", torch_sees))
    section.say(str({k: section.data.get(k) for k in ("gpus", "nvcc", "torch")}))


def installed() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def gpus() -> list[dict[str, str]]:
    command = ["nvidia-smi", f"--query-gpu={GPU}", "--format=csv,noheader"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=15).stdout
    return [dict(zip(GPU.split(","), line.split(", "), strict=True)) for line in out.splitlines()]


def nvcc_version() -> str:
    command = [build.nvcc(), "--version"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=15)
    return re.search(r"release (\S+),", out.stdout)[1]


def torch_sees() -> dict[str, Any]:
    import torch

    properties = torch.cuda.get_device_properties(0)
    return {
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "multiprocessors": properties.multi_processor_count,
        "l2_bytes": getattr(properties, "L2_cache_size", None),
    }
