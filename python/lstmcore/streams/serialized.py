"""The bytes of a stream's state.

Little-endian: a header (``_HEADER``), the widths of c and h of each layer (uint32), the state
[N, S], and the CRC-32C of all before it (uint32).
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np

from lstmcore import _core
from lstmcore.arrays import Array
from lstmcore.streams.model import StreamModel

_MAGIC = b"LSTMCORE-STREAM\n"
_VERSION = 1
# magic, version, dtype as NumPy's code, number of widths, batch_size (-1: None), steps, digest
_HEADER = struct.Struct("<16sI2sxxIqq32s")
_CRC = struct.Struct("<I")


class Content(NamedTuple):
    """What was read, intact but not yet compared with a model."""

    dtype: str
    widths: tuple[int, ...]
    batch_size: int | None
    steps: int
    digest: bytes
    values: bytes


def dump(model: StreamModel, batch_size: int | None, steps: int, values: Array) -> bytes:
    """The bytes of a stream of ``model`` with the state ``values`` [N, S]."""
    code, widths = model.dtype.str[1:].encode(), model.widths
    batch = -1 if batch_size is None else batch_size
    header = _HEADER.pack(_MAGIC, _VERSION, code, len(widths), batch, steps, model.digest)
    little = values.astype(model.dtype.newbyteorder("<"), copy=False)
    content = header + struct.pack(f"<{len(widths)}I", *widths) + little.tobytes()
    return content + _CRC.pack(_core.crc32c(content))


def parse(data: Any) -> Content:
    """Raises ValueError for what is not whole and intact, TypeError for what is no buffer."""
    try:
        content = bytes(memoryview(data))
    except TypeError:
        raise TypeError(f"data: expected bytes, received {type(data).__name__}") from None
    if len(content) < _HEADER.size + _CRC.size:
        raise ValueError(f"data: {len(content)} bytes are too few for the state of a stream")
    content, crc = content[: -_CRC.size], content[-_CRC.size :]
    magic, version, code, count, batch, steps, digest = _HEADER.unpack_from(content)
    if magic != _MAGIC:
        raise ValueError("data: not the state of a stream: Stream.to_bytes did not make it")
    if _core.crc32c(content) != _CRC.unpack(crc)[0]:
        raise ValueError("data: corrupt: the CRC-32C does not match")
    if version != _VERSION:
        raise ValueError(f"data: has format {version}, this lstmcore reads format {_VERSION}")
    begin = _HEADER.size + 4 * count
    if len(content) < begin or batch < -1 or steps < 0:
        raise ValueError("data: corrupt: its header makes no sense")
    widths = struct.unpack_from(f"<{count}I", content, _HEADER.size)
    batch_size = None if batch == -1 else batch
    dtype = code.decode("latin-1")
    return Content(dtype, widths, batch_size, steps, digest, content[begin:])


def checked_values(content: Content, model: StreamModel) -> Array:
    """The state [N, S]. Raises ValueError where it is not that of a stream of ``model``."""
    dtype = model.dtype.str[1:]
    if content.dtype != dtype:
        raise ValueError(f"data: the state has dtype {content.dtype}, {model.name} has {dtype}")
    if list(content.widths) != model.widths:
        raise ValueError(
            f"data: the state has layers of (num_units, output_size) {_pairs(content.widths)}, "
            f"{model.name} has {_pairs(model.widths)}"
        )
    if content.digest != model.digest:
        raise ValueError(f"data: {model.name} has other weights or options than the stream had")
    rows = 1 if content.batch_size is None else content.batch_size
    if len(content.values) != rows * sum(model.widths) * model.dtype.itemsize:
        raise ValueError("data: corrupt: the size of the state is not that of its header")
    little = np.frombuffer(content.values, model.dtype.newbyteorder("<"))
    return little.reshape(rows, sum(model.widths)).astype(model.dtype)


def _pairs(widths: Any) -> list[tuple[int, int]]:
    return list(zip(widths[::2], widths[1::2], strict=False))
