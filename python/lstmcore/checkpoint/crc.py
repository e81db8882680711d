"""The checksum of the format: CRC-32C, stored masked.

A CRC of data that itself contains CRCs is weak, so the format stores a rotated and offset value
(LevelDB ``doc/table_format.md`` and ``util/crc32c.h``, which TensorFlow's table format follows).
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from lstmcore._core import crc32c

_MASK_DELTA = 0xA282EAD8


def masked_crc32c(data: bytes | NDArray[Any]) -> int:
    """CRC-32C of ``data`` in the masked form that checkpoints store."""
    crc = crc32c(data)
    rotated = (crc >> 15) | (crc << 17)
    return (rotated + _MASK_DELTA) & 0xFFFFFFFF
