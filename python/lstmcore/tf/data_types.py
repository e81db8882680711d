"""``tf.float32`` and the like: NumPy's dtypes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lstmcore.dtypes import as_dtype as as_dtype

DType = np.dtype

float16 = np.dtype(np.float16)
bfloat16 = "bfloat16"  # NumPy has none; the name is refused like float16, with the supported types
float32 = np.dtype(np.float32)
float64 = double = np.dtype(np.float64)
int8, int16 = np.dtype(np.int8), np.dtype(np.int16)
int32, int64 = np.dtype(np.int32), np.dtype(np.int64)
uint8, uint16 = np.dtype(np.uint8), np.dtype(np.uint16)
uint32, uint64 = np.dtype(np.uint32), np.dtype(np.uint64)
bool = np.dtype(np.bool_)
complex64, complex128 = np.dtype(np.complex64), np.dtype(np.complex128)


class TensorShape:
    """Shape of one part of the state or output of a cell of your own; arrays' are tuples."""

    def __init__(self, dims: Any) -> None:
        self._dims = tuple(int(size) for size in dims)

    @property
    def ndims(self) -> int:
        return len(self._dims)

    def as_list(self) -> list[int]:
        return list(self._dims)

    def __len__(self) -> int:
        return len(self._dims)

    def __iter__(self) -> Iterator[int]:
        return iter(self._dims)

    def __getitem__(self, index: Any) -> Any:
        return self._dims[index]

    def __eq__(self, other: object) -> Any:
        return self._dims == (
            tuple(other) if isinstance(other, (TensorShape, tuple, list)) else other
        )

    def __hash__(self) -> int:
        return hash(self._dims)

    def __repr__(self) -> str:
        return f"TensorShape({list(self._dims)})"


__all__ = [
    "DType",
    "TensorShape",
    "as_dtype",
    "bfloat16",
    "bool",
    "complex64",
    "complex128",
    "double",
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]
