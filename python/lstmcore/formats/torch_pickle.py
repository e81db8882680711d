"""The pickles of ``torch.save``, without torch and without running anything.

A pickle is a program. This one may name only what a dict of tensors needs (``_ALLOWED``); each of
these makes an inert record here. Its opcodes are looked through first, so that none asks for more
memory than the file's own size justifies.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from lstmcore.errors import LoadError, UnsafeFile

_MAX_PICKLE = 64 << 20  # a state_dict of 100 000 tensors has about 10 MB
_MEMO = {"PUT", "BINPUT", "LONG_BINPUT"}
# Never written by torch.save, and able to take memory or the interpreter's registries.
_REFUSED_OPCODES = {
    "EXT1": "the extension registry",
    "EXT2": "the extension registry",
    "EXT4": "the extension registry",
    "INST": "an instance of a class",
    "OBJ": "an instance of a class",
    "BYTEARRAY8": "a bytearray",
    "NEXT_BUFFER": "an out-of-band buffer",
    "PERSID": "a persistent id as text",
}
# Element types by the name of torch's storage classes.
STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


class StorageType(NamedTuple):
    dtype: str


class StorageRecord(NamedTuple):
    """A storage by its key in the container; ``size`` in elements."""

    key: str
    dtype: str
    size: int


class TensorRecord(NamedTuple):
    storage: StorageRecord
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def load(data: bytes, path: str) -> tuple[Any, int]:
    """What the pickle at the start of ``data`` holds, tensors as records, and where it ends.

    Raises UnsafeFile for names and opcodes that no dict of tensors needs, LoadError for what is
    broken.
    """
    end = _checked_end(data, path)
    try:
        return _Unpickler(io.BytesIO(data[:end]), path).load(), end
    except LoadError as error:
        if str(error).startswith(path):
            raise
        raise LoadError(f"{path}: {error}") from None
    except Exception as error:  # a broken program may fail in any way
        raise LoadError(f"{path}: a broken pickle: {type(error).__name__}: {error}") from None


def _checked_end(data: bytes, path: str) -> int:
    """Where the first pickle in ``data`` ends, its opcodes being harmless."""
    count = 0
    stream = io.BytesIO(data[:_MAX_PICKLE])
    try:
        for opcode, argument, position in pickletools.genops(stream):
            count += 1
            if opcode.name in _REFUSED_OPCODES:
                raise UnsafeFile(
                    f"{path}: its pickle asks for {_REFUSED_OPCODES[opcode.name]} "
                    f"({opcode.name} at byte {position}); refused. Only tensors can be read from "
                    "PyTorch files"
                )
            if opcode.name in _MEMO and int(argument or 0) > count:
                raise UnsafeFile(
                    f"{path}: its pickle numbers an object {argument} after {count} steps; refused"
                )
    except LoadError:
        raise
    except Exception as error:
        size = "" if len(data) <= _MAX_PICKLE else f" within {_MAX_PICKLE} bytes"
        raise LoadError(f"{path}: a broken pickle{size}: {error}") from None
    return stream.tell()


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, path: str) -> None:
        super().__init__(file, encoding="utf-8")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        found = _ALLOWED.get(f"{module}.{name}")
        if found is None and module in ("torch", "torch.storage") and name in STORAGES:
            return StorageType(STORAGES[name])
        if found is not None:
            return found
        raise UnsafeFile(
            f"{self._path} asks for {module}.{name}; refused. Only tensors can be read from "
            "PyTorch files: where you trust it, load it with torch and save model.state_dict()"
        )

    def persistent_load(self, pid: Any) -> StorageRecord:
        """("storage", type, key, location, size); older files have a view of it behind."""
        ok = (
            isinstance(pid, tuple)
            and len(pid) in (5, 6)
            and pid[0] == "storage"
            and isinstance(pid[1], StorageType)
            and isinstance(pid[2], str)
            and isinstance(pid[4], int)
            and pid[4] >= 0
        )
        if not ok:
            raise LoadError(f"{self._path}: a reference to what is no storage")
        if len(pid) == 6 and pid[5] is not None:
            raise LoadError(
                f"{self._path}: views of storages, as PyTorch before 0.4 wrote them, are not read: "
                "load and save it again with torch"
            )
        return StorageRecord(pid[2], pid[1].dtype, pid[4])


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> TensorRecord:
    numbers = isinstance(shape, tuple) and isinstance(strides, tuple)
    if (
        not isinstance(storage, StorageRecord)
        or not numbers
        or not all(type(n) is int and n >= 0 for n in (offset, *shape, *strides))
        or len(shape) != len(strides)
        or len(shape) > 32
    ):
        raise LoadError("a tensor that is described in no way that is known")
    return TensorRecord(storage, offset, shape, strides)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _ordered_dict(*args: Any) -> Any:
    """Empty: torch fills it item by item. Its hooks and metadata are attributes, dropped here."""
    if args:
        raise LoadError("an OrderedDict made from arguments")
    return _Dict()


class _Dict(OrderedDict[Any, Any]):
    def __setstate__(self, state: Any) -> None:
        pass


_ALLOWED: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
}
