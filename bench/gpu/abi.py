"""liblstmcore_cuda.so through ctypes, with structures read from ``include/lstmcore/cuda_abi.h``.

Needs NumPy alone: what runs under a sanitizer or on a bare machine imports nothing else.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "include" / "lstmcore" / "cuda_abi.h"
ERROR_SIZE = 512
PATHS = ("auto", "stepwise", "block", "cluster", "grid")
DTYPES = ("float32", "float64", "float16", "bfloat16")

_PLAIN: dict[str, Any] = {
    "int": ctypes.c_int,
    "double": ctypes.c_double,
    "int64_t": ctypes.c_int64,
    "size_t": ctypes.c_size_t,
}


def read_structures(header: str) -> dict[str, type[ctypes.Structure]]:
    """Every ``typedef struct {...} name;`` as a class; function pointers are plain ones."""
    text = re.sub(r"//[^\n]*", "", header)
    found: dict[str, type[ctypes.Structure]] = {}
    for body, name in re.findall(r"typedef struct \{(.*?)\} (\w+);", text, re.DOTALL):
        fields: list[tuple[str, Any]] = []
        for declaration in filter(None, (part.strip() for part in body.split(";"))):
            fields += _fields(" ".join(declaration.replace("* ", " *").split()), found)
        found[name] = type(name, (ctypes.Structure,), {"_fields_": fields})
    return found


def _fields(declaration: str, known: dict[str, Any]) -> list[tuple[str, Any]]:
    if function := re.search(r"\(\*(\w+)\)\(", declaration):
        return [(function[1], ctypes.c_void_p)]
    match = re.fullmatch(r"(?:const )?(\w+) (.+)", declaration)
    assert match, declaration
    kind, fields = match[1], []
    for name in (part.strip() for part in match[2].split(",")):
        if name.startswith("*"):
            fields.append((name[1:], ctypes.c_void_p))
        elif array := re.fullmatch(r"(\w+)\[(\d+)\]", name):
            fields.append((array[1], ctypes.c_char * int(array[2])))
        else:
            fields.append((name, known.get(kind) or _PLAIN[kind]))
    return fields


STRUCTURES = read_structures(HEADER.read_text(encoding="utf-8"))


def cublas_folders() -> list[Path]:
    """Those of PyPI's packages, then that of the toolkit."""
    places = [Path(entry or ".") / "nvidia" / "cu13" / "lib" for entry in sys.path]
    places += [Path(entry or ".") / "nvidia" / "cublas" / "lib" for entry in sys.path]
    homes = (os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda")
    places += [Path(home) / "lib64" for home in homes if home]
    return [place for place in dict.fromkeys(places) if any(place.glob("libcublasLt.so*"))]


def cublas_files() -> list[Path]:
    """Every cuBLASLt 12 or 13 at hand, the one to take first."""
    files = [f for place in cublas_folders() for f in sorted(place.glob("libcublasLt.so.1?"))[::-1]]
    return list({file.resolve(): file for file in files}.values())


def load_cublas() -> None:
    """So that the library finds it in the process."""
    for file in cublas_files()[:1]:
        ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)


def to_bits(values: np.ndarray, dtype: str) -> np.ndarray:
    """As the device stores them; bfloat16 as the upper halves of float32s, ties to even."""
    if dtype != "bfloat16":
        return np.ascontiguousarray(values, dtype)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bits(stored: np.ndarray, dtype: str) -> np.ndarray:
    """As float64."""
    if dtype == "bfloat16":
        stored = (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float64)


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    return from_bits(to_bits(values, dtype), dtype)


class Library:
    """The functions of one liblstmcore_cuda.so, and a context on one of its GPUs."""

    def __init__(self, file: Path | str, cublas: str | None = None, index: int = 0) -> None:
        self.index = index
        if cublas is None:
            load_cublas()
        text = HEADER.read_text(encoding="utf-8")
        version = int(re.search(r"#define LSTMCORE_CUDA_ABI (\d+)", text)[1])
        entry = ctypes.CDLL(str(file)).lstmcore_cuda_api
        entry.restype, entry.argtypes = ctypes.c_void_p, [ctypes.c_int]
        table = entry(version)
        if not table:
            raise RuntimeError(f"{file} does not have version {version} of the interface")
        api = next(s for n, s in STRUCTURES.items() if n.startswith("lstmcore_cuda_api"))
        self._api = api.from_address(table)
        self._error = ctypes.create_string_buffer(ERROR_SIZE)
        self._calls: dict[str, Any] = {}
        self.context = ctypes.c_void_p()
        name = cublas.encode() if cublas else None
        self.call("create_context", ctypes.c_int(index), name, ctypes.byref(self.context))
        self.device = STRUCTURES["lstmcore_cuda_device"]()
        self.call("device", ctypes.c_int(index), ctypes.byref(self.device))

    def call(self, name: str, *arguments: Any) -> None:
        """Calls a function that takes ``error`` last; RuntimeError with its text."""
        if name not in self._calls:
            self._calls[name] = ctypes.CFUNCTYPE(ctypes.c_int)(getattr(self._api, name))
        if status := self._calls[name](*arguments, self._error):
            reason = self._error.value.decode(errors="replace")
            raise RuntimeError(f"{name}: status {status}: {reason}")

    def device_count(self) -> int:
        count = ctypes.c_int()
        self.call("device_count", ctypes.byref(count))
        return count.value

    def cublas_version(self) -> int:
        """As 10000 major + 100 minor + patch; 0 without one."""
        version = ctypes.c_int()
        self.call("cublas_version", self.context, ctypes.byref(version))
        return version.value

    def synchronize(self, stream: int = 0) -> None:
        self.call("synchronize", self.context, ctypes.c_void_p(stream))


class Array:
    """An array on the device, of a shape and one of ``DTYPES``."""

    def __init__(self, library: Library, shape: Sequence[int], dtype: str) -> None:
        self.library, self.shape, self.dtype = library, tuple(shape), dtype
        self.host_dtype = np.dtype(np.uint16 if dtype == "bfloat16" else dtype)
        self.bytes = int(np.prod(self.shape)) * self.host_dtype.itemsize
        self.pointer = ctypes.c_void_p()
        size, index = ctypes.c_size_t(self.bytes), ctypes.c_int(library.index)
        library.call("allocate", index, size, ctypes.c_void_p(), ctypes.byref(self.pointer))

    def __del__(self) -> None:
        if self.pointer:
            index = ctypes.c_int(self.library.index)
            self.library.call("release", index, self.pointer, ctypes.c_void_p())

    def _copy(self, to: Any, source: Any) -> None:
        index, size, none = (
            ctypes.c_int(self.library.index), ctypes.c_size_t(self.bytes), ctypes.c_void_p(),
        )  # fmt: skip
        self.library.call("copy", index, to, source, size, none)
        self.library.synchronize()

    def write(self, values: np.ndarray) -> Array:
        stored = np.broadcast_to(to_bits(values, self.dtype), self.shape).copy()
        self._copy(self.pointer, ctypes.c_void_p(stored.ctypes.data))
        return self

    def bits(self) -> np.ndarray:
        stored = np.empty(self.shape, self.host_dtype)
        self._copy(ctypes.c_void_p(stored.ctypes.data), self.pointer)
        return stored

    def read(self) -> np.ndarray:
        """As float64."""
        return from_bits(self.bits(), self.dtype)

    def sequence(self) -> Any:
        """Of [T, N, width]."""
        _, rows, width = self.shape
        return STRUCTURES["lstmcore_cuda_sequence"](self.pointer, rows * width, width)
