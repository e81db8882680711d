"""The tensors of a V2 checkpoint by name, as ``tf.train.load_checkpoint`` gives them."""

from __future__ import annotations

import difflib
import itertools
import math
import mmap
import os
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lstmcore.checkpoint.bundle import (
    HEADER_KEY,
    Entry,
    parse_entry,
    parse_header,
    slice_key,
    slice_ranges,
)
from lstmcore.checkpoint.crc import masked_crc32c
from lstmcore.checkpoint.object_graph import OBJECT_GRAPH_KEY, full_names
from lstmcore.checkpoint.paths import StrPath, checkpoint_prefix, is_file
from lstmcore.checkpoint.table import read_table
from lstmcore.checkpoint.tensor_types import READABLE_NAMES, DType, widen_bfloat16
from lstmcore.checkpoint.wire import read_varint
from lstmcore.errors import CheckpointError, DataLossError, NotFoundError

# The index of a model with 100 000 variables has about 10 MB.
_MAX_INDEX_BYTES = 64 << 20


class CheckpointReader:
    """Reads one checkpoint; safe to share between threads.

    The index is read and checked when the reader is made. Data files are mapped into memory when a
    tensor of theirs is first asked for, and each tensor is checked against its CRC-32C every time.
    """

    def __init__(self, path: StrPath) -> None:
        """Open the checkpoint that ``path`` names: prefix, ``.index`` file or directory.

        Raises CheckpointError when it is none, or when its index is corrupt.
        """
        self._prefix = checkpoint_prefix(path)
        self._index_file = self._prefix + ".index"
        self._shards: dict[int, NDArray[np.uint8]] = {}
        self._files: dict[int, mmap.mmap] = {}
        self._num_shards, entries = _read_index(self._index_file)
        self._parts = _claim_parts(entries, self._index_file)
        self._entries = {_decode(key, self._index_file): e for key, e in entries.items()}
        _check_no_overlap([*self._entries.values(), *self._parts.values()], self._index_file)

    def __repr__(self) -> str:
        return f"<CheckpointReader {self._prefix!r}, {len(self._entries)} tensors>"

    @property
    def prefix(self) -> str:
        """The path of the checkpoint without ``.index``."""
        return self._prefix

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Shapes of all tensors by name; a partitioned variable is one entry of full shape."""
        return {name: list(entry.shape) for name, entry in self._entries.items()}

    def get_variable_to_dtype_map(self) -> dict[str, DType]:
        """Element types of all tensors by name, as stored."""
        return {name: entry.dtype for name, entry in self._entries.items()}

    def has_tensor(self, name: str) -> bool:
        """Whether the checkpoint has a tensor of this name."""
        return name in self._entries

    def get_tensor(self, name: str) -> NDArray[Any]:
        """The values of one tensor.

        Returns:
            An array of the stored shape and type, a NumPy scalar when the shape is (); bfloat16
            comes widened exactly to float32. The array is read-only and, where the data is
            aligned for its type, a view of the mapped file: no copy is made. So the data files
            must not be changed in place while it is in use (replacing or deleting them is safe):
            touching an array whose file was cut short ends the process.

        Raises:
            CheckpointError: no such tensor, a type that is not read, a missing or short data file,
                a checksum that does not match, slices that do not make up the variable.
        """
        entry = self._entries.get(name)
        if entry is None:
            near = difflib.get_close_matches(str(name), self._entries, n=3)
            hint = f"; near names: {', '.join(near)}" if near else ""
            raise NotFoundError(f"Key {name} not found in checkpoint {self._prefix}{hint}")
        if entry.dtype.stored is None:
            raise CheckpointError(
                f"{self._prefix}: tensor {name!r} is of type {entry.dtype.name}, which is not "
                f"read; types read are {READABLE_NAMES}"
            )
        stored = self._assembled(name, entry) if entry.slices else self._mapped(name, entry)
        values = widen_bfloat16(stored) if entry.dtype.name == "bfloat16" else stored
        values.flags.writeable = False
        # As TensorFlow's reader does; a scalar answers to shape and dtype as arrays do.
        return values if entry.shape else cast(NDArray[Any], values[()])

    def full_names(self) -> dict[str, str]:
        """The names that variables had in their program, by the names of their tensors.

        Only checkpoints of objects (``tf.train.Checkpoint``, SavedModels of TensorFlow 2) say so.
        Raises CheckpointError where they say it in a way that cannot be read.
        """
        entry = self._entries.get(OBJECT_GRAPH_KEY)
        if entry is None or entry.dtype.name != "string" or entry.shape:
            return {}
        self._check_not_cut(entry.shard)
        what = f"{self._shard_file(entry.shard)}: {OBJECT_GRAPH_KEY}"
        data = bytes(self._shard(entry.shard)[entry.offset : entry.offset + entry.size])
        # A string scalar: its length, a checksum of that (4 bytes), its bytes.
        length, begin = read_varint(data, 0, len(data), what)
        if begin + 4 + length != len(data):
            raise DataLossError(f"{what}: a string of {length} bytes in {len(data)} bytes")
        return full_names(data[begin + 4 :], what)

    def _mapped(self, name: str, entry: Entry) -> NDArray[Any]:
        """The stored values of an entry that is whole: a view of its data file where aligned."""
        assert entry.dtype.stored is not None
        shard = self._shard(entry.shard)
        self._check_not_cut(entry.shard)
        end = entry.offset + entry.size
        where = f"{self._shard_file(entry.shard)}: tensor {name!r}"
        if end > shard.size:
            raise DataLossError(
                f"{where}: expected {entry.size} bytes at byte {entry.offset}, but the file has "
                f"{shard.size} bytes: it is truncated"
            )
        data = shard[entry.offset : end]
        computed = masked_crc32c(data)
        if computed != entry.crc:
            raise DataLossError(
                f"{where}: checksum mismatch, stored {entry.crc:#010x}, computed {computed:#010x}: "
                "the file is corrupt"
            )
        values = data.view(entry.dtype.stored).reshape(entry.shape)
        return values if values.flags.aligned and values.dtype.isnative else _native_copy(values)

    def _assembled(self, name: str, entry: Entry) -> NDArray[Any]:
        """A partitioned variable put together; every element must come from exactly one slice."""
        assert entry.dtype.stored is not None
        parts = [self._parts[slice_key(name.encode(), part)] for part in entry.slices]
        total, given = math.prod(entry.shape), sum(math.prod(part.shape) for part in parts)
        problem = f"{self._index_file}: partitioned variable {name!r} of shape {entry.shape}"
        if given != total:
            raise DataLossError(f"{problem} has {total} elements, its slices hold {given}")
        # Mapped and checked first: what follows allocates no more than the data files really hold.
        arrays = [self._mapped(name, part) for part in parts]
        values = np.empty(entry.shape, entry.dtype.stored.newbyteorder("="))
        filled = np.zeros(entry.shape, np.bool_)
        for part, array in zip(entry.slices, arrays, strict=True):
            at = slice_ranges(part, entry.shape)
            values[at] = array
            filled[at] = True
        if not filled.all():
            raise DataLossError(f"{problem}: its slices overlap and leave gaps")
        return values

    def _shard_file(self, shard: int) -> str:
        return f"{self._prefix}.data-{shard:05d}-of-{self._num_shards:05d}"

    def _shard(self, shard: int) -> NDArray[np.uint8]:
        """All bytes of one data file, read-only and mapped."""
        if shard not in self._shards:
            path = self._shard_file(shard)
            if not is_file(path):
                raise DataLossError(
                    f"{path}: expected data shard {shard} of {self._num_shards}, no such file"
                )
            try:
                with open(path, "rb") as file:
                    # An empty file cannot be mapped, and holds the data of empty tensors only.
                    if os.fstat(file.fileno()).st_size == 0:
                        return np.empty(0, np.uint8)
                    data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except OSError as error:
                raise CheckpointError(f"{path}: cannot be read: {error}") from error
            self._files[shard] = data
            self._shards[shard] = np.frombuffer(data, np.uint8)
        return self._shards[shard]

    def _check_not_cut(self, shard: int) -> None:
        """Reading a mapped page that its file no longer has would end the process."""
        data = self._files.get(shard)
        if data is not None and data.size() < len(data):
            raise DataLossError(
                f"{self._shard_file(shard)}: had {len(data)} bytes when it was opened, now has "
                f"{data.size()}: it was truncated meanwhile"
            )


def load_checkpoint(ckpt_dir_or_file: StrPath) -> CheckpointReader:
    """Open a checkpoint as ``tf.train.load_checkpoint`` does; see CheckpointReader."""
    return CheckpointReader(ckpt_dir_or_file)


def list_variables(ckpt_dir_or_file: StrPath) -> list[tuple[str, list[int]]]:
    """Names and shapes of all tensors, sorted by name, as ``tf.train.list_variables`` gives."""
    return sorted(CheckpointReader(ckpt_dir_or_file).get_variable_to_shape_map().items())


def _read_index(file: str) -> tuple[int, dict[bytes, Entry]]:
    """Number of data shards, and all entries by key."""
    try:
        with open(file, "rb") as index:
            size = os.fstat(index.fileno()).st_size
            if size > _MAX_INDEX_BYTES:
                raise CheckpointError(
                    f"{file}: expected an index of at most {_MAX_INDEX_BYTES} bytes, got {size}"
                )
            data = index.read(size)
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read: {error}") from error
    table = read_table(data, file)
    key, value = next(table, (None, b""))
    if key != HEADER_KEY:
        raise DataLossError(
            f"{file}: expected the header of a V2 checkpoint as first entry, got "
            f"{'nothing' if key is None else repr(key[:80])}"
        )
    num_shards = parse_header(value, f"{file}: header")
    return num_shards, {
        key: parse_entry(value, num_shards, f"{file}: entry {key[:200]!r}") for key, value in table
    }


def _claim_parts(entries: dict[bytes, Entry], file: str) -> dict[bytes, Entry]:
    """Move the entries that are slices of partitioned variables out of ``entries``, checked."""
    parts: dict[bytes, Entry] = {}
    for name, whole in [item for item in entries.items() if item[1].slices]:
        for part in whole.slices:
            key = slice_key(name, part)
            found = entries.pop(key, None)
            expected = tuple(r.stop - r.start for r in slice_ranges(part, whole.shape))
            what = f"{file}: slice {part} of partitioned variable {name[:200]!r}"
            if found is None:
                raise DataLossError(f"{what}: has no entry of its own, or is named twice")
            if found.slices or found.shape != expected or found.dtype != whole.dtype:
                raise DataLossError(
                    f"{what}: expected {expected} of {whole.dtype.name}, got "
                    f"{found.shape} of {found.dtype.name}"
                )
            parts[key] = found
    return parts


def _decode(key: bytes, file: str) -> str:
    """A tensor's name. NUL opens the key of a slice; one left over belongs to no variable."""
    if b"\0" in key:
        raise DataLossError(f"{file}: entry {key[:200]!r} is a slice of no variable")
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise DataLossError(f"{file}: tensor name {key[:200]!r} is not UTF-8") from None


def _check_no_overlap(entries: list[Entry], file: str) -> None:
    """Two tensors never share bytes: otherwise a small file could claim to hold any number."""
    ranges = sorted((e.shard, e.offset, e.size) for e in entries if e.size and not e.slices)
    for (shard, offset, size), (next_shard, next_offset, _) in itertools.pairwise(ranges):
        if shard == next_shard and offset + size > next_offset:
            raise DataLossError(
                f"{file}: two tensors share the bytes from {next_offset} of data shard {shard}"
            )


def _native_copy(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(values.dtype.newbyteorder("="))
