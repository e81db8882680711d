"""A small writer of TensorFlow's V2 checkpoints, for tests; it shares no code with the reader.

The pieces (blocks, tables, entries) can be called one by one, to write files that are wrong in one
place and right, checksums included, everywhere else.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

MAGIC = 0xDB4775248B80FB57
DTYPE_CODES = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "int64": 9,
    "uint16": 17,
    "float16": 19,
    "uint32": 22,
    "uint64": 23,
}
BFLOAT16, STRING = 14, 7


@dataclass
class Raw:
    """A tensor given as bytes, for dtypes that NumPy does not have."""

    code: int
    shape: tuple
    data: bytes


@dataclass
class Partitioned:
    """A variable stored as slices: ``parts`` is a list of (starts, array)."""

    shape: tuple
    parts: list


def _make_crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC_TABLE = _make_crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in bytes(data):
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def masked(crc):
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(tag, value):
    return varint(tag << 3) + varint(value)


def blob(tag, data):
    return varint(tag << 3 | 2) + varint(len(data)) + data


def header(num_shards=1, endianness=0, min_consumer=0):
    version = number(1, 1) + (number(2, min_consumer) if min_consumer else b"")
    return number(1, num_shards) + number(2, endianness) + blob(3, version)


def entry(code, shape, shard=0, offset=0, size=0, crc=0, slices=()):
    dims = b"".join(blob(2, number(1, dim)) for dim in shape)
    out = number(1, code) + blob(2, dims)
    out += number(3, shard) + number(4, offset) + number(5, size)
    out += varint(6 << 3 | 5) + struct.pack("<I", crc)
    for extents in slices:
        extent_blobs = [
            blob(1, (number(1, start) if start else b"") + (number(2, n) if n >= 0 else b""))
            for start, n in extents
        ]
        out += blob(7, b"".join(extent_blobs))
    return out


def ordered_int(value):
    """OrderedCode::WriteSignedNumIncreasing."""
    if -64 <= value < 64:
        return bytes([(value & 0xFF) ^ 0x80])
    bits = (~value if value < 0 else value).bit_length() + 1
    length = -(-bits // 7)
    raw = bytearray((value & ((1 << 80) - 1)).to_bytes(10, "big")[10 - length :])
    marks = "1" * length + "0" * 16
    raw[0] ^= int(marks[:8], 2)
    raw[1] ^= int(marks[8:16], 2)
    return bytes(raw)


def slice_key(name, extents):
    """Key of a slice's own entry; rank is below 128 here, so its ordered code is short."""
    rank = bytes([1, len(extents)]) if extents else b"\0"
    values = b"".join(ordered_int(start) + ordered_int(n) for start, n in extents)
    return b"\0" + name.encode() + b"\0\1" + rank + values


def block(items, restart_interval=16):
    out, restarts, previous = bytearray(), [], b""
    for i, (key, value) in enumerate(items):
        if i % restart_interval == 0:
            restarts.append(len(out))
            shared = 0
        else:
            shared = next(n for n in range(len(key), -1, -1) if previous.startswith(key[:n]))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value))
        out += key[shared:] + value
        previous = key
    restarts = restarts or [0]
    return bytes(out) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def sealed(content, compression=0):
    """A block with its trailer."""
    body = content + bytes([compression])
    return body + struct.pack("<I", masked(crc32c(body)))


def footer(metaindex, index):
    handles = varint(metaindex[0]) + varint(metaindex[1]) + varint(index[0]) + varint(index[1])
    return handles.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def table(items, per_block=5, compression=0):
    """A whole index file of ``items``, (key, value) in order."""
    out, handles = bytearray(), []
    for start in range(0, len(items), per_block):
        chunk = items[start : start + per_block]
        content = block(chunk)
        handles.append((chunk[-1][0], varint(len(out)) + varint(len(content))))
        out += sealed(content, compression)
    places = []
    for content in (block([]), block(handles, restart_interval=1)):
        places.append((len(out), len(content)))
        out += sealed(content)
    return bytes(out) + footer(*places)


def pack(value):
    """dtype code, shape and bytes of a tensor."""
    if isinstance(value, Raw):
        return value.code, value.shape, value.data
    array = np.asarray(value)
    little = array.astype(array.dtype.newbyteorder("<"))
    return DTYPE_CODES[array.dtype.name], array.shape, little.tobytes()


def write(prefix, tensors, num_shards=1, gap=0):
    """Write a checkpoint; tensors go to the shards in turn, ``gap`` bytes before each."""
    shards = [bytearray() for _ in range(num_shards)]
    items = {b"": header(num_shards)}
    count = 0

    def add(key, value):
        nonlocal count
        shard, count = count % num_shards, count + 1
        code, shape, data = pack(value)
        shards[shard] += b"\xee" * gap
        items[key] = entry(code, shape, shard, len(shards[shard]), len(data), masked(crc32c(data)))
        shards[shard] += data

    for name, value in tensors.items():
        if not isinstance(value, Partitioned):
            add(name.encode(), value)
            continue
        all_extents = []
        for starts, array in value.parts:
            extents = [
                (0, -1) if n == full else (start, n)
                for start, n, full in zip(starts, array.shape, value.shape, strict=True)
            ]
            add(slice_key(name, extents), array)
            all_extents.append(extents)
        code = pack(value.parts[0][1])[0]
        items[name.encode()] = entry(code, value.shape, slices=all_extents)
    write_files(prefix, sorted(items.items()), shards)
    return str(prefix)


def write_files(prefix, items, shards):
    """An index of ``items`` as given, beside data files of ``shards`` as given."""
    with open(f"{prefix}.index", "wb") as file:
        file.write(table(items))
    for i, data in enumerate(shards):
        with open(f"{prefix}.data-{i:05d}-of-{len(shards):05d}", "wb") as file:
            file.write(data)
