"""Data types: what may be named, and what the cells compute in.

``as_dtype`` understands whatever names a NumPy type; ``as_compute_dtype`` adds the rule of the
cells (TensorFlow's rule for integers, ours for the floating types that have no kernel yet).
"""

from __future__ import annotations

from typing import Any

import numpy as np

DType = np.dtype[Any]

SUPPORTED: tuple[DType, ...] = (np.dtype(np.float32), np.dtype(np.float64))
SUPPORTED_NAMES = ", ".join(dtype.name for dtype in SUPPORTED)

# TensorFlow maps Python's own number types to its 32-bit defaults, NumPy to 64-bit ones.
_PYTHON_TYPES = {float: np.dtype(np.float32), int: np.dtype(np.int32)}


def describe(dtype: DType) -> str:
    """The way TensorFlow prints a type: ``<dtype: 'int32'>``."""
    return f"<dtype: '{dtype.name}'>"


def as_dtype(value: Any, argument: str = "dtype") -> DType:
    """Converts a name, a NumPy type or anything NumPy understands to ``np.dtype``.

    Byte order is dropped: a type means its native form. Raises TypeError, with TensorFlow's text,
    for None and for what is no type; float16 and bfloat16 by name give the list of supported types.
    """
    if isinstance(value, np.dtype):
        return value.newbyteorder("=")
    if value is None or isinstance(value, bool):
        raise _not_a_dtype(value, argument)
    if isinstance(value, type) and value in _PYTHON_TYPES:
        return _PYTHON_TYPES[value]
    if isinstance(value, str) and value == "bfloat16":
        raise unsupported(value, argument)
    try:
        dtype: DType = np.dtype(value)
    except (TypeError, ValueError):
        raise _not_a_dtype(value, argument) from None
    if dtype.fields is not None or dtype.kind == "O":
        raise _not_a_dtype(value, argument)
    return dtype.newbyteorder("=")


def as_compute_dtype(value: Any, argument: str = "dtype") -> DType:
    """Like ``as_dtype``, for the type a cell computes in: float32 or float64.

    Raises ValueError for integers and bool (TensorFlow's text) and TypeError for other types.
    """
    dtype = as_dtype(value, argument)
    if dtype in SUPPORTED:
        return dtype
    if dtype.kind in "biu":
        raise not_floating(dtype)
    raise unsupported(dtype.name, argument)


def not_floating(dtype: DType, argument: str | None = None) -> ValueError:
    """The error of TensorFlow's cells for integers and bool."""
    where = f" in {argument}" if argument else ""
    return ValueError(
        "RNN cell only supports floating point inputs, "
        f"but received dtype: {describe(dtype)}{where}"
    )


def unsupported(name: str, argument: str) -> TypeError:
    return TypeError(f"{argument} has dtype {name}, which is not supported: use {SUPPORTED_NAMES}")


def _not_a_dtype(value: Any, argument: str) -> TypeError:
    return TypeError(
        f"Cannot convert the argument `type_value`: {value!r} to a TensorFlow DType. "
        f"(argument {argument})"
    )
