"""Reads one HDF5 file for ``hdf5.py``, as a process of its own.

A corrupt file can make the HDF5 library run for ever or end the process; here it takes nobody with
it. Run as a script: ``hdf5_worker.py PATH``, or ``-`` for a file on standard input (its length in 8
bytes first). Answers on standard output are a line of JSON, for a dataset followed by its bytes:
first the listing, then one for each name on a line of standard input.

Links to other files, virtual and external data and compression bombs are refused; the file alone
is read.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.path.pop(0)  # this folder: its modules are no top-level ones

import io
import json
import math
import os
import resource
from typing import Any, BinaryIO

import h5py
import numpy as np

_MAX_OBJECTS = 200_000
_MAX_DEPTH = 32
_MAX_EXPANSION = 64  # of compressed data; weights hardly compress at all
_MAX_TEXT = 64 << 20
_ATTRIBUTES = ("keras_version", "model_config", "name")


class Refused(Exception):
    """Why a file is not read; ``unsafe`` where it reaches outside itself."""

    def __init__(self, text: str, unsafe: bool = False) -> None:
        super().__init__(text)
        self.unsafe = unsafe


def listing(root: Any) -> dict[str, Any]:
    """Datasets (shape and type) by path, and the attributes of groups that are wanted."""
    tensors: dict[str, Any] = {}
    attributes: dict[str, dict[str, str]] = {}
    pending: list[tuple[str, int, Any]] = [("", 0, root)]
    seen: set[Any] = set()
    while pending:
        path, depth, group = pending.pop()
        place = h5py.h5o.get_info(group.id).addr
        if place in seen or depth > _MAX_DEPTH:
            raise Refused(f"group {path!r} is inside itself, or too deep")
        seen.add(place)
        attributes[path] = {n: _text(group, n) for n in _ATTRIBUTES if n in group.attrs}
        inner = []
        for name in group:
            full = f"{path}/{name}".lstrip("/")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise Refused(f"{full!r} is a link to elsewhere; refused", unsafe=True)
            kind = group.get(name, getclass=True)
            if kind is h5py.Group:
                inner.append((full, depth + 1, group[name]))
            elif kind is h5py.Dataset:
                tensors[full] = _described(full, group[name])
            if len(tensors) + len(pending) + len(inner) > _MAX_OBJECTS:
                raise Refused(f"more than {_MAX_OBJECTS} objects")
        pending += reversed(inner)
    return {"tensors": tensors, "attributes": attributes}


def _described(name: str, dataset: Any) -> tuple[list[int], str]:
    if dataset.is_virtual or dataset.external:
        raise Refused(f"{name!r} keeps its data in other files; refused", unsafe=True)
    if dataset.shape is None:
        raise Refused(f"{name!r} is an empty dataset")
    dtype = dataset.dtype
    return list(dataset.shape), dtype.newbyteorder("=").name if dtype.kind in "fiub" else str(dtype)


def _text(group: Any, name: str) -> str:
    found = group.attrs.get_id(name)
    # An array of strings is looked up one by one: a corrupt count would take for ever.
    if found.shape != () or found.dtype.itemsize > _MAX_TEXT:
        raise Refused(f"attribute {name!r} of {group.name!r} is no text")
    value = group.attrs[name]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def values(root: Any, name: str, file_size: int) -> Any:
    """One dataset of floats as float32 or float64, little-endian."""
    dataset = root[name]
    size = math.prod(dataset.shape) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    limit = stored * _MAX_EXPANSION if dataset.compression else stored
    if stored > file_size or size > limit:
        raise Refused(
            f"{name!r} of shape {dataset.shape} would take {size} bytes, the file holds {stored} "
            "for it"
        )
    return np.asarray(dataset[()]).astype("<f8" if dataset.dtype.itemsize == 8 else "<f4")


def _serve(file: Any, size: int, requests: BinaryIO, answers: BinaryIO) -> None:
    def answer(content: dict[str, Any], data: bytes = b"") -> None:
        answers.write(json.dumps(content).encode() + b"\n" + data)
        answers.flush()

    def refuse(error: Exception) -> None:
        answer(
            {"error": str(error) or type(error).__name__, "unsafe": getattr(error, "unsafe", False)}
        )

    try:
        root = h5py.File(file, "r")
        answer(listing(root))
    except Exception as error:  # the library's own errors are of many types
        refuse(error)
        return
    for line in requests:
        try:
            data = values(root, json.loads(line), size)
            answer({"shape": data.shape, "dtype": data.dtype.str}, data.tobytes())
        except Exception as error:
            refuse(error)


def main(path: str) -> None:
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    if path == "-":
        content = requests.read(int.from_bytes(requests.read(8), "little"))
        size, file = len(content), io.BytesIO(content)
    else:
        size, file = os.path.getsize(path), path  # type: ignore[assignment]
    limit = (2 << 30) + 16 * size
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _serve(file, size, requests, answers)


if __name__ == "__main__":
    main(sys.argv[1])
