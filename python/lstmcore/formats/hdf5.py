"""HDF5 files as names and arrays, read by a process of its own (``hdf5_worker.py``)."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from lstmcore.arrays import Array
from lstmcore.errors import LoadError, UnsafeFile
from lstmcore.formats.files import optional
from lstmcore.formats.source import TensorInfo

_WORKER = str(Path(__file__).with_name("hdf5_worker.py"))
_PATIENCE = 10.0  # seconds without a byte; a thousand times what listing a model takes
_FLOATS = ("float16", "float32", "float64")


class Hdf5File:
    """An open file. ``tensors`` are its datasets by path, ``attributes`` those of its groups.

    ``content`` is a path, or the file's bytes. Raises LoadError for what cannot be read, UnsafeFile
    for what reaches outside the file, MissingExtra without h5py.
    """

    def __init__(self, content: str | bytes, path: str) -> None:
        optional("h5py", "keras", "reading Keras files")
        self._path = path
        self._buffer = b""
        place = content if isinstance(content, str) else "-"
        self._process = subprocess.Popen(
            [sys.executable, _WORKER, place],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        try:
            if isinstance(content, bytes):
                self._send(len(content).to_bytes(8, "little") + content)
            listing = self._answer()
        except BaseException:
            self.close()
            raise
        self.tensors = {
            name: TensorInfo(tuple(shape), kind)
            for name, (shape, kind) in listing["tensors"].items()
        }
        self.attributes: dict[str, dict[str, str]] = listing["attributes"]

    def read(self, name: str) -> Array:
        """One dataset as float32 or float64. Raises LoadError."""
        info = self.tensors[name]
        if info.dtype not in _FLOATS:
            raise LoadError(f"{self._path}: {name!r}: expected floating point, got {info.dtype}")
        self._send(json.dumps(name).encode() + b"\n")
        found = self._answer()
        dtype, shape = np.dtype(found["dtype"]), found["shape"]
        data = self._receive(dtype.itemsize * math.prod(shape))
        return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except (OSError, ValueError):
            raise self._ended() from None

    def _answer(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            self._fill()
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            if answer["unsafe"]:
                raise UnsafeFile(f"{self._path}: {answer['error']}")
            raise LoadError(f"{self._path}: a broken HDF5 file: {answer['error']}")
        return answer

    def _receive(self, size: int) -> bytes:
        parts = [self._buffer[:size]]
        self._buffer, missing = self._buffer[size:], size - len(parts[0])
        while missing:
            self._fill()
            parts.append(self._buffer[:missing])
            self._buffer = self._buffer[len(parts[-1]) :]
            missing -= len(parts[-1])
        return b"".join(parts)

    def _fill(self) -> None:
        """More of the worker's output. Raises LoadError where there is no more."""
        assert self._process.stdout is not None
        file, until = self._process.stdout.fileno(), time.monotonic() + _PATIENCE
        while not select.select([file], [], [], 0.5)[0]:
            if time.monotonic() > until:
                self.close()
                raise LoadError(
                    f"{self._path}: the HDF5 library has read for {_PATIENCE:g} s without a "
                    "result: the file is corrupt"
                )
        data = os.read(file, 1 << 20)
        if not data:
            raise self._ended()
        self._buffer += data

    def _ended(self) -> LoadError:
        code = self._process.wait()
        return LoadError(
            f"{self._path}: the process that reads HDF5 ended with code {code}: the file is corrupt"
        )

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was left to write goes nowhere
                    pipe.close()
