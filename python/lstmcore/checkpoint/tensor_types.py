"""Element types that a checkpoint can name, and which of them are read.

Codes and names are those of TensorFlow's ``types.proto``; all values are stored little-endian.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class DType:
    """One TensorFlow element type, in the manner of ``tf.DType``.

    ``stored`` is the layout in the file; None when ``get_tensor`` does not read the type.
    Compares equal to its name and to the NumPy type of the arrays that ``get_tensor`` returns
    under that name: ``dtype == "bfloat16"``, ``dtype == np.float32``.
    """

    code: int
    name: str
    stored: np.dtype[np.generic] | None = None

    @property
    def as_numpy_dtype(self) -> type[np.generic]:
        """The NumPy scalar type of arrays read (bfloat16 is widened to float32)."""
        if self.stored is None:
            raise TypeError(f"{self.name} has no NumPy type that checkpoints are read as")
        return np.float32 if self.name == "bfloat16" else self.stored.type

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DType):
            return self.code == other.code
        if isinstance(other, str):
            return self.name == other
        if isinstance(other, (type, np.dtype)):
            return self.name == np.dtype(other).name
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<dtype: '{self.name}'>"


def _little_endian(name: str) -> np.dtype[np.generic]:
    return np.dtype(name).newbyteorder("<")


_READ = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    9: "int64",
    14: "bfloat16",
    17: "uint16",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
_LISTED_ONLY = {
    7: "string",
    8: "complex64",
    10: "bool",
    11: "qint8",
    12: "quint8",
    13: "qint32",
    15: "qint16",
    16: "quint16",
    18: "complex128",
    20: "resource",
    21: "variant",
    24: "float8_e5m2",
    25: "float8_e4m3fn",
    26: "float8_e4m3fnuz",
    27: "float8_e4m3b11fnuz",
    28: "float8_e5m2fnuz",
    29: "int4",
    30: "uint4",
    31: "int2",
    32: "uint2",
}
# bfloat16 is the upper half of a float32; NumPy knows only its bits.
DTYPES = {
    code: DType(code, name, _little_endian("uint16" if name == "bfloat16" else name))
    for code, name in _READ.items()
} | {code: DType(code, name) for code, name in _LISTED_ONLY.items()}

READABLE_NAMES = ", ".join(_READ.values())


def widen_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The exact float32 values of bfloat16 numbers given as their 16 bits."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
