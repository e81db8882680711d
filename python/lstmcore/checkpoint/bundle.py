"""Entries of an index: header, tensors and the slices of partitioned variables.

Messages and keys are those of TensorFlow's ``tensor_bundle.proto``, ``tensor_slice.proto`` and
``saved_tensor_slice_util.cc``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lstmcore.checkpoint.tensor_types import DTYPES, DType
from lstmcore.checkpoint.wire import Message, parse_message, signed64
from lstmcore.errors import CheckpointError, DataLossError

HEADER_KEY = b""
_FORMAT_VERSION = 1
_MAX_RANK = 32
_MAX_BYTES = 1 << 62
_FULL = -1

Extent = tuple[int, int]  # start, length; length -1 stands for the whole dimension
Slice = tuple[Extent, ...]


@dataclass(frozen=True)
class Entry:
    """Where one tensor, or one slice of a partitioned variable, lies and what it is.

    A partitioned variable has its full ``shape`` and its ``slices``; their data are entries of
    their own under ``slice_key``.
    """

    dtype: DType
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int
    slices: tuple[Slice, ...]


def parse_header(data: bytes, what: str) -> int:
    """Check a BundleHeaderProto and return its number of data shards.

    Raises CheckpointError for big-endian data or a format version not known here.
    """
    header = parse_message(data, what, varints=(1, 2), blobs=(3,))
    if header.number(2) != 0:
        raise CheckpointError(
            f"{what}: expected little-endian data, got endianness {header.number(2)}: "
            "the checkpoint was written on a big-endian machine"
        )
    for version in header.blobs.get(3, []):
        needed = parse_message(version, what, varints=(2,)).number(2)
        if needed > _FORMAT_VERSION:
            raise CheckpointError(
                f"{what}: needs a reader of format version {needed}, this one is {_FORMAT_VERSION}"
            )
    num_shards = header.number(1)
    if not 1 <= num_shards < 1 << 31:
        raise DataLossError(f"{what}: expected at least 1 data shard, got {num_shards}")
    return num_shards


def parse_entry(data: bytes, num_shards: int, what: str) -> Entry:
    """Parse and check one BundleEntryProto; ``what`` names file and tensor in errors."""
    entry = parse_message(data, what, varints=(1, 3, 4, 5), fixed32=(6,), blobs=(2, 7))
    code = entry.number(1)
    if code not in DTYPES:
        raise DataLossError(f"{what}: dtype code {code} is not known")
    dtype = DTYPES[code]
    shape = _parse_shape(entry, what)
    shard, offset, size = entry.number(3), entry.number(4), entry.number(5)
    if not 0 <= shard < num_shards:
        raise DataLossError(f"{what}: shard {shard}, but the checkpoint has {num_shards} shards")
    if offset < 0 or size < 0:
        raise DataLossError(f"{what}: {size} bytes at byte {offset} cannot be")
    slices = tuple(_parse_slice(blob, shape, what) for blob in entry.blobs.get(7, []))
    if dtype.stored is not None and not slices:
        expected = math.prod(shape) * dtype.stored.itemsize
        if size != expected:
            raise DataLossError(
                f"{what}: shape {shape} of {dtype.name} takes {expected} bytes, stored are {size}"
            )
    return Entry(dtype, shape, shard, offset, size, entry.numbers.get(6, 0), slices)


def _parse_shape(entry: Message, what: str) -> tuple[int, ...]:
    dims: list[int] = []
    for blob in entry.blobs.get(2, []):
        shape = parse_message(blob, what, varints=(3,), blobs=(2,))
        if shape.number(3):
            raise DataLossError(f"{what}: expected a shape, got one of unknown rank")
        dims += [parse_message(d, what, varints=(1,)).number(1) for d in shape.blobs.get(2, [])]
        if len(dims) > _MAX_RANK:
            raise DataLossError(f"{what}: rank {len(dims)} is above the {_MAX_RANK} of NumPy")
    # Zero dimensions count as one: NumPy refuses (0, 2**62) although it holds nothing.
    if min(dims, default=0) < 0 or math.prod(max(d, 1) for d in dims) > _MAX_BYTES // 16:
        raise DataLossError(f"{what}: shape {tuple(dims)} cannot be")
    return tuple(dims)


def _parse_slice(data: bytes, shape: tuple[int, ...], what: str) -> Slice:
    extents: list[Extent] = []
    for blob in parse_message(data, what, blobs=(1,)).blobs.get(1, []):
        extent = parse_message(blob, what, varints=(1, 2))
        length = signed64(extent.numbers[2]) if 2 in extent.numbers else _FULL
        extents.append((extent.number(1), length))
    if len(extents) != len(shape):
        raise DataLossError(
            f"{what}: a slice of {len(extents)} dimensions in a variable of shape {shape}"
        )
    for (start, length), dim in zip(extents, shape, strict=True):
        whole = length == _FULL and start == 0
        if not whole and (start < 0 or length < 0 or start + length > dim):
            raise DataLossError(
                f"{what}: slice from {start} of length {length} in a dimension of {dim}"
            )
    return tuple(extents)


def slice_ranges(part: Slice, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The index of ``part`` in an array of ``shape``."""
    return tuple(
        slice(start, dim if length == _FULL else start + length)
        for (start, length), dim in zip(part, shape, strict=True)
    )


def slice_key(name: bytes, part: Slice) -> bytes:
    """The index key of one slice: an ordered-code string of 0, name, rank and extents.

    ``name`` is UTF-8 without NUL, so it holds none of the bytes that ordered code escapes.
    """
    numbers = b"".join(_ordered_signed(number) for extent in part for number in extent)
    return b"\x00" + name + b"\x00\x01" + _ordered_unsigned(len(part)) + numbers


def _ordered_unsigned(number: int) -> bytes:
    """Ordered code of a number at or above 0: count of bytes, then big-endian bytes."""
    size = (number.bit_length() + 7) // 8
    return bytes([size]) + number.to_bytes(size, "big")


def _ordered_signed(number: int) -> bytes:
    """Ordered code of an int64: n leading ones (flipped when negative) tell n bytes in all."""
    size = 1
    while not -(1 << (7 * size - 1)) <= number < 1 << (7 * size - 1):
        size += 1
    header = ((1 << size) - 1) << (7 * size)
    return ((number % (1 << (8 * size))) ^ header).to_bytes(size, "big")
