"""PyTorch's two containers: the zip archive of 1.6 and later, and the stream before it."""

from __future__ import annotations

import math
import zipfile
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lstmcore.arrays import Array
from lstmcore.checkpoint.tensor_types import widen_bfloat16
from lstmcore.formats import torch_names, torch_pickle
from lstmcore.formats.files import read_file
from lstmcore.formats.source import Source, TensorInfo
from lstmcore.formats.torch_pickle import StorageRecord, TensorRecord

# What training saves beside the weights; its tensors are nobody's weights.
_FOREIGN = ("optim", "lr_sched", "scheduler", "scaler", "ema_", "callbacks", "loops")
_MAX_DEPTH = 32
_MAX_TENSORS = 200_000


@dataclass
class TorchSource(Source):
    """Tensors by the keys of their dicts, joined by dots. Raises LoadError, UnsafeFile."""

    separator: str = "."
    records: dict[str, TensorRecord] = field(default_factory=dict)

    def _find(self, content: Any) -> None:
        if not isinstance(content, dict):
            kind = "a tensor" if isinstance(content, TensorRecord) else type(content).__name__
            raise self.error(f"holds {kind}, expected a state_dict")
        for name, record in _flattened(content, self):
            self.records[name] = record
            self.tensors[name] = TensorInfo(record.shape, record.storage.dtype)
            trained = not any(part.startswith(_FOREIGN) for part in name.lower().split(".")[:-1])
            # Integers are counters and states of random generators.
            if not trained or (
                "float" not in record.storage.dtype and not torch_names.is_weight(name)
            ):
                self.foreign.add(name)
        weights = {k: v for k, v in self.tensors.items() if k not in self.foreign}
        self.models = torch_names.find_models(weights)

    def read(self, name: str) -> Array:
        record = self.records[name]
        what = f"tensor {name!r}"
        count = math.prod(record.shape)
        last = sum((n - 1) * s for n, s in zip(record.shape, record.strides, strict=True))
        size = record.storage.size
        if count and (record.offset + last >= size or count > size):
            raise self.error(
                f"{what}: shape {record.shape} with strides {record.strides} from "
                f"{record.offset} on lies outside its storage of {size} elements"
            )
        dtype = record.storage.dtype
        stored = _stored_type(dtype)
        data = self._storage(record.storage, stored)
        if data.size < size:
            raise self.error(f"{what}: its storage has {data.size} of {size} elements: truncated")
        view = np.lib.stride_tricks.as_strided(
            data[record.offset :] if count else data[:0],
            record.shape,
            [s * stored.itemsize for s in record.strides],
            writeable=False,
        )
        values = np.ascontiguousarray(view)
        if dtype == "bfloat16":
            return widen_bfloat16(values)
        if values.dtype.kind != "f":
            raise self.error(f"{what}: expected floating point, got {dtype}")
        return values.astype(np.float64 if dtype == "float64" else np.float32)

    @abstractmethod
    def _storage(self, storage: StorageRecord, stored: np.dtype[Any]) -> Array:
        """The elements of a storage that the file has."""


@dataclass
class TorchZipSource(TorchSource):
    archive: zipfile.ZipFile = field(init=False)
    root: str = ""

    def __post_init__(self) -> None:
        try:
            self.archive = zipfile.ZipFile(self.path)
            names = self.archive.namelist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise self.error(f"a broken zip archive: {error}") from None
        pickles = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise self.error(f"expected one data.pkl in the archive, found {len(pickles)}")
        self.root = pickles[0][: -len("data.pkl")]
        if f"{self.root}byteorder" in names and self._entry("byteorder") != b"little":
            raise self.error("written on a big-endian machine, which is not read")
        self._find(torch_pickle.load(self._entry("data.pkl"), self.path)[0])

    def _entry(self, name: str) -> bytes:
        """An entry's bytes; torch stores them as they are, so a compressed one is a bomb."""
        full = self.root + name
        try:
            info = self.archive.getinfo(full)
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise self.error(f"{full}: compressed, which torch.save never does")
            return self.archive.read(info)
        except KeyError:
            raise self.error(f"{full}: missing in the archive") from None
        except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError) as error:
            raise self.error(f"{full}: {error}") from None
        except RuntimeError as error:
            raise self.error(f"{full}: {error}") from None  # encrypted

    def _storage(self, storage: StorageRecord, stored: np.dtype[Any]) -> Array:
        data = self._entry(f"data/{storage.key}")
        return np.frombuffer(data, stored, count=len(data) // stored.itemsize)

    def close(self) -> None:
        self.archive.close()


@dataclass
class TorchStreamSource(TorchSource):
    data: bytes = b""
    places: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data = read_file(self.path)
        at, parts = 0, []
        for _ in range(5):  # magic number, protocol, system, content, keys of the storages
            part, size = torch_pickle.load(self.data[at:], self.path)
            parts.append(part)
            at += size
        _, protocol, system, content, keys = parts
        if protocol != 1001:
            raise self.error(f"stream protocol {protocol}, expected 1001")
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise self.error("written on a big-endian machine, which is not read")
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise self.error("no list of storages behind its content")
        self._find(content)
        sizes = {r.storage.key: r.storage for r in self.records.values()}
        for key in keys:  # each: its number of elements (int64), then its elements
            count = int.from_bytes(self.data[at : at + 8], "little", signed=True)
            if key not in sizes:
                raise self.error(f"storage {key!r} belongs to no tensor")
            if count != sizes[key].size:
                raise self.error(
                    f"storage {key!r}: expected {sizes[key].size} elements, got {count}"
                )
            self.places[key] = at + 8
            at += 8 + count * _stored_type(sizes[key].dtype).itemsize
            if at > len(self.data):
                raise self.error(f"storage {key!r}: the file ends inside it: truncated")

    def _storage(self, storage: StorageRecord, stored: np.dtype[Any]) -> Array:
        if storage.key not in self.places:
            raise self.error(f"storage {storage.key!r}: not in the file")
        return np.frombuffer(self.data, stored, storage.size, self.places[storage.key])


def _stored_type(name: str) -> np.dtype[Any]:
    # bfloat16 is the upper half of a float32; NumPy knows only its bits.
    return np.dtype("uint16" if name == "bfloat16" else name).newbyteorder("<")


def _flattened(content: dict[Any, Any], source: Source) -> Iterator[tuple[str, TensorRecord]]:
    """All tensors in nested dicts and lists; each container counts once, however often it is in."""
    seen: set[int] = set()
    pending: list[tuple[str, int, Any]] = [("", 0, content)]
    found = 0
    while pending:
        prefix, depth, value = pending.pop()
        if isinstance(value, TensorRecord):
            found += 1
            if found > _MAX_TENSORS:
                raise source.error(f"more than {_MAX_TENSORS} tensors")
            yield prefix, value
            continue
        if not isinstance(value, (dict, list)) or id(value) in seen:
            continue
        seen.add(id(value))
        if depth > _MAX_DEPTH:
            raise source.error(f"dicts more than {_MAX_DEPTH} deep")
        items = value.items() if isinstance(value, dict) else enumerate(value)
        inner = [
            (f"{prefix}.{key}" if prefix else str(key), depth + 1, item)
            for key, item in items
            if isinstance(key, (str, int))
        ]
        pending += reversed(inner)
