"""NVIDIA GPUs: whether there is one to use, and arrays on it.

Models and cells run on a GPU with ``device="cuda"``. The code for it is in ``liblstmcore_cuda.so``,
which is part of installations that were built where nvcc was at hand, and is opened when it is
first wanted. It needs NVIDIA's driver. Products of matrices are left to cuBLASLt 12 or 13
(``pip install 'lstmcore[cuda13]'``), which is taken from the first of: the file that
``LSTMCORE_CUBLAS`` names, a copy that the process has loaded (that of torch, say), the packages
nvidia-cublas and nvidia-cublas-cu12, ``CONDA_PREFIX``, ``CUDA_HOME``, the system. Where there is
none, or ``LSTMCORE_CUBLAS`` is "none", a kernel of lstmcore's own multiplies, without tensor
cores; ``plan()`` says under "products" which it is.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from lstmcore import _core
from lstmcore._core import DeviceArray
from lstmcore.arrays import Array, refuse_masked

__all__ = [
    "DeviceArray",
    "asarray",
    "asnumpy",
    "device_count",
    "devices",
    "is_available",
    "why_not",
]

# The order of lstmcore_cuda_dtype.
DTYPES = ("float32", "float64", "float16", "bfloat16")
_CUBLAS = (
    ("nvidia/cu13/lib", "libcublasLt.so.13"),
    ("nvidia/cublas/lib", "libcublasLt.so.12"),
)


def library_file() -> Path:
    """The library; it need not be there."""
    chosen = os.environ.get("LSTMCORE_CUDA_LIBRARY")
    return Path(chosen) if chosen else Path(_core.__file__).parent / "liblstmcore_cuda.so"


def library() -> _core.CudaLibrary:
    """Raises RuntimeError with the reason where there is none."""
    file = library_file()
    if not file.exists():
        raise RuntimeError(
            f"LSTMCORE_CUDA_LIBRARY: there is no {file}"
            if os.environ.get("LSTMCORE_CUDA_LIBRARY")
            else f"this lstmcore was built without CUDA ({file} is not there); where nvcc is, "
            "'pip install . -C cmake.define.LSTMCORE_CUDA=ON' in its sources builds it with CUDA"
        )
    return _opened(str(file))


@functools.cache
def _opened(file: str) -> _core.CudaLibrary:
    """One for all: it keeps arrays of others alive for the device."""
    return _core.CudaLibrary(file)


def cublas_file() -> str | None:
    """The cuBLASLt to load; None leaves it to the process and the loader."""
    if chosen := os.environ.get("LSTMCORE_CUBLAS"):
        return chosen
    try:
        maps = Path("/proc/self/maps").read_text()
        if any(name in maps for _, name in _CUBLAS):
            return None
    except OSError:
        pass
    places = [(Path(entry or ".") / folder, name) for entry in sys.path for folder, name in _CUBLAS]
    for variable, folder in (("CONDA_PREFIX", "lib"), ("CUDA_HOME", "lib64")):
        if root := os.environ.get(variable):
            places += [(Path(root) / folder, name) for _, name in _CUBLAS]
    return next((str(place / name) for place, name in places if (place / name).exists()), None)


def why_not() -> str | None:
    """Why no GPU can be used, or None where one can. cuBLAS is looked for when a model is made."""
    try:
        if library().device_count() < 1:
            return "there is no GPU"
    except RuntimeError as error:
        return str(error)
    return None


def is_available() -> bool:
    """Whether there is a GPU and the code for it; ``why_not()`` has the reason if not."""
    return why_not() is None


def device_count() -> int:
    """How many GPUs there are; 0 where none can be used."""
    return 0 if why_not() else library().device_count()


def device_index(device: Any) -> int | None:
    """The index in "cuda", "cuda:1" or "auto"; None for "cpu", and for "auto" without a GPU.

    Raises ValueError for another name, and RuntimeError with the reason where there is no GPU.
    """
    if device == "cpu" or (device == "auto" and why_not()):
        return None
    name = "cuda" if device == "auto" else device
    kind, _, index = name.partition(":") if isinstance(name, str) else ("", "", "")
    if kind != "cuda" or (":" in name and not index.isdecimal()):
        raise ValueError(f"device: expected 'cpu', 'cuda', 'cuda:N' or 'auto', got {device!r}")
    if reason := why_not():
        raise RuntimeError(f"device={device!r}: {reason}")
    number, count = int(index or 0), library().device_count()
    if number >= count:
        raise ValueError(f"device: there is no cuda:{number}, only {count} GPU(s)")
    return number


def asarray(values: Any, dtype: str | None = None, device: int = 0, stream: int = 0) -> DeviceArray:
    """Copies a NumPy array to a GPU.

    Args:
        values: floats. None of 16 bits: ``dtype`` rounds them.
        dtype: "float32", "float64", "float16" or "bfloat16"; None: that of ``values``.
        device: which GPU.
        stream: the CUDA stream to copy on, as an integer; 0: the default one.

    Raises TypeError for other dtypes and masked arrays, ValueError for another device, RuntimeError
    where there is no GPU, MemoryError.
    """
    refuse_masked(values, "values")
    host = np.asarray(values)
    name = host.dtype.name if dtype is None else dtype
    if host.dtype.kind != "f" or (dtype is None and name not in DTYPES):
        raise TypeError(f"values: expected floats as one of {', '.join(DTYPES)}, got {host.dtype}")
    if not isinstance(name, str) or name not in DTYPES:
        raise TypeError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    device_index(f"cuda:{device}")
    array = DeviceArray(library(), device, list(host.shape), DTYPES.index(name), stream)
    array._write(_as_bfloat16(host) if name == "bfloat16" else np.ascontiguousarray(host, name))
    return array


def devices() -> list[dict[str, Any]]:
    """Name, compute capability, multiprocessors and bytes of memory of each GPU; [] without one."""
    return [library().device(index) for index in range(device_count())]


def asnumpy(array: DeviceArray | Array, dtype: Any = None) -> Array:
    """Copies an array of lstmcore's from its GPU, and waits for it; bfloat16 becomes float32.

    A NumPy array, which is what a call gives on the CPU, is returned as it is, or in ``dtype``.
    Raises TypeError for arrays of other libraries, which have functions of their own for this.
    """
    if isinstance(array, (np.ndarray, np.generic)):
        return np.asarray(array, dtype)
    if not isinstance(array, DeviceArray):
        raise TypeError(
            "array: expected a lstmcore.cuda.DeviceArray or a NumPy array, got "
            f"{type(array).__module__}.{type(array).__qualname__}"
        )
    brain = array.dtype_name == "bfloat16"
    host = np.empty(array.shape, np.uint16 if brain else array.dtype_name)
    array._read(host)
    if brain:
        host = (host.astype(np.uint32) << 16).view(np.float32)
    return host if dtype is None else host.astype(dtype, copy=False)


def _as_bfloat16(values: Array) -> Array:
    """The upper halves of float32s, rounded to nearest, ties to even; NaN stays one."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(values), np.uint32(0x7FFF), rounded).astype(np.uint16)
