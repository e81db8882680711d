"""HDF5 files as names and arrays, through h5py, within what a weights file may do.

Links to other files, virtual and external data and compression bombs are refused; the file alone
is read.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from lstmcore.arrays import Array
from lstmcore.errors import LoadError, UnsafeFile
from lstmcore.formats.files import optional
from lstmcore.formats.source import TensorInfo

_MAX_OBJECTS = 200_000
_MAX_DEPTH = 32
_MAX_EXPANSION = 64  # of compressed data; weights hardly compress at all
_MAX_TEXT = 64 << 20


class Hdf5File:
    """An open file. ``tensors`` are its datasets by path, ``attributes`` those of its groups."""

    def __init__(self, data: str | bytes, path: str) -> None:
        h5py = optional("h5py", "keras", "reading Keras files")
        self._h5py, self._path = h5py, path
        self.tensors: dict[str, TensorInfo] = {}
        self.attributes: dict[str, dict[str, Any]] = {}
        try:
            self._file = h5py.File(io.BytesIO(data) if isinstance(data, bytes) else data, "r")
            self._size = len(data) if isinstance(data, bytes) else self._file.id.get_filesize()
            self._walk()
        except LoadError:
            raise
        except Exception as error:  # the library's own errors are of many types
            raise LoadError(f"{path}: a broken HDF5 file: {error}") from None

    def _walk(self) -> None:
        h5py = self._h5py
        pending: list[tuple[str, int, Any]] = [("", 0, self._file)]
        seen: set[Any] = set()
        while pending:
            path, depth, group = pending.pop()
            place = h5py.h5o.get_info(group.id).addr
            if place in seen or depth > _MAX_DEPTH:
                raise LoadError(f"{self._path}: group {path!r} is inside itself, or too deep")
            seen.add(place)
            self.attributes[path] = {
                name: value
                for name in _ATTRIBUTES
                if (value := self._attribute(group, name)) is not None
            }
            inner = []
            for name in group:
                link = group.get(name, getlink=True)
                full = f"{path}/{name}".lstrip("/")
                if not isinstance(link, h5py.HardLink):
                    raise UnsafeFile(f"{self._path}: {full!r} is a link to elsewhere; refused")
                kind = group.get(name, getclass=True)
                if kind is h5py.Group:
                    inner.append((full, depth + 1, group[name]))
                elif kind is h5py.Dataset:
                    self._take(full, group[name])
                if len(self.tensors) + len(pending) + len(inner) > _MAX_OBJECTS:
                    raise LoadError(f"{self._path}: more than {_MAX_OBJECTS} objects")
            pending += reversed(inner)

    def _take(self, name: str, dataset: Any) -> None:
        if dataset.is_virtual or dataset.external:
            raise UnsafeFile(f"{self._path}: {name!r} keeps its data in other files; refused")
        shape = dataset.shape
        if shape is None:
            raise LoadError(f"{self._path}: {name!r} is an empty dataset")
        self.tensors[name] = TensorInfo(tuple(shape), _type_name(dataset.dtype))

    def _attribute(self, group: Any, name: str) -> Any:
        if name not in group.attrs:
            return None
        space = group.attrs.get_id(name)
        if math.prod(space.shape or ()) * space.dtype.itemsize > _MAX_TEXT:
            raise LoadError(f"{self._path}: attribute {name!r} is too large")
        value = group.attrs[name]
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if isinstance(value, np.ndarray):
            return [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in value]
        return value

    def read(self, name: str) -> Array:
        """One dataset as float32 or float64. Raises LoadError."""
        info = self.tensors[name]
        if info.dtype not in ("float16", "float32", "float64"):
            raise LoadError(f"{self._path}: {name!r}: expected floating point, got {info.dtype}")
        try:
            dataset = self._file[name]
            size = math.prod(info.shape) * dataset.dtype.itemsize
            stored = dataset.id.get_storage_size()
            limit = stored * _MAX_EXPANSION if dataset.compression else stored
            if stored > self._size or size > limit:
                raise LoadError(
                    f"{self._path}: {name!r} of shape {info.shape} would take {size} bytes, the "
                    f"file holds {stored} for it"
                )
            value = np.asarray(dataset[()])
        except LoadError:
            raise
        except Exception as error:
            raise LoadError(f"{self._path}: {name!r}: {error}") from None
        return value.astype(np.float64 if info.dtype == "float64" else np.float32)

    def close(self) -> None:
        self._file.close()


_ATTRIBUTES = ("keras_version", "model_config", "layer_names", "weight_names", "name")


def _type_name(dtype: Any) -> str:
    return str(dtype.newbyteorder("=").name) if dtype.kind in "fiub" else str(dtype)
