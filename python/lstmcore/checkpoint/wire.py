"""Protocol-buffer wire format: varints and flat messages, without recursion.

Messages inside a message stay bytes until the caller asks for them, so nesting depth in a hostile
file costs nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from lstmcore.errors import DataLossError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_FIELD = (1 << 29) - 1


def read_varint(data: bytes, at: int, end: int, what: str) -> tuple[int, int]:
    """Read an unsigned base-128 integer at ``data[at]``; return it and the position behind it.

    Raises CheckpointError when it runs past ``end`` or does not fit in 64 bits.
    """
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise DataLossError(f"{what}: expected a varint at byte {at}, the data ends at {end}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value, at
    raise DataLossError(f"{what}: the varint before byte {at} does not fit in 64 bits")


def signed64(value: int) -> int:
    """A varint read as int64 or int32: negative numbers come as 64-bit two's complement."""
    return value - (1 << 64) if value >> 63 else value


@dataclass
class Message:
    """The wanted fields of one message: the last value of each number, all values of each blob."""

    numbers: dict[int, int] = field(default_factory=dict)
    blobs: dict[int, list[bytes]] = field(default_factory=dict)

    def number(self, tag: int) -> int:
        """The int32, int64 or enum field ``tag``; 0 when absent, as protocol buffers define."""
        return signed64(self.numbers.get(tag, 0))


def parse_message(
    data: bytes,
    what: str,
    *,
    varints: Collection[int] = (),
    fixed32: Collection[int] = (),
    blobs: Collection[int] = (),
) -> Message:
    """Parse one flat message, keeping the fields named and skipping unknown ones.

    Raises CheckpointError for a field that runs past the end, a wire type that does not exist, or
    a wanted field stored with another wire type than its own.
    """
    expected = dict.fromkeys(varints, _VARINT)
    expected.update(dict.fromkeys(fixed32, _FIXED32))
    expected.update(dict.fromkeys(blobs, _BYTES))
    message = Message()
    at, end = 0, len(data)
    while at < end:
        key, at = read_varint(data, at, end, what)
        tag, wire_type = key >> 3, key & 7
        if not 1 <= tag <= _MAX_FIELD:
            raise DataLossError(f"{what}: field number {tag} before byte {at} does not exist")
        if expected.get(tag, wire_type) != wire_type:
            raise DataLossError(
                f"{what}: field {tag} has wire type {wire_type}, expected {expected[tag]}"
            )
        if wire_type == _VARINT:
            number, at = read_varint(data, at, end, what)
            if tag in expected:
                message.numbers[tag] = number
            continue
        blob, at = _read_bytes(data, at, wire_type, what)
        if tag not in expected:
            continue
        if wire_type == _BYTES:
            message.blobs.setdefault(tag, []).append(blob)
        else:
            message.numbers[tag] = int.from_bytes(blob, "little")
    return message


def _read_bytes(data: bytes, at: int, wire_type: int, what: str) -> tuple[bytes, int]:
    """The bytes of one fixed-size or length-delimited field, and the position behind them."""
    end = len(data)
    if wire_type == _BYTES:
        size, at = read_varint(data, at, end, what)
    elif wire_type in (_FIXED64, _FIXED32):
        size = 8 if wire_type == _FIXED64 else 4
    else:
        raise DataLossError(f"{what}: unknown wire type {wire_type} before byte {at}")
    if size > end - at:
        raise DataLossError(
            f"{what}: a field of {size} bytes at byte {at}, but only {end - at} bytes are left"
        )
    return data[at : at + size], at + size
