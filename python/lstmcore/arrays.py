"""From what callers pass to the arrays the kernels take, and from numbers to checked sizes."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from lstmcore import dtypes

Array = np.ndarray[Any, np.dtype[Any]]


# The native core's limit for any dimension: offsets stay far from overflow.
MAX_SIZE = 1 << 30
# Far above any memory, and what NumPy and the native core can still count.
MAX_BYTES = 1 << 60


def as_array(value: Any, argument: str) -> Array:
    """``value`` as an ndarray, without a copy where it is one or offers its memory.

    Accepts ndarrays, NumPy scalars, and objects with ``__array__`` or (CPU) ``__dlpack__``.
    Raises TypeError for anything else; Python lists in particular are structures, not arrays, and
    the mask of a masked array would be lost.
    """
    refuse_masked(value, argument)
    if isinstance(value, np.ndarray):
        return np.asarray(value)  # a subclass gives its base array
    try:
        if hasattr(value, "__array__"):
            return np.asarray(value)
        if hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)
    except Exception as error:
        raise TypeError(
            f"{argument} must be readable as a NumPy array; {type(value).__name__} gave: {error}"
        ) from error
    raise TypeError(
        f"{argument} must be a NumPy array or have __array__ or __dlpack__ (arrays on a GPU are "
        "for what has device='cuda'), "
        f"received {type(value).__name__}"
    )


def refuse_masked(value: Any, argument: str) -> None:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{argument} must be a plain array, received a masked one: fill it first")


def as_kernel_array(array: Array, dtype: dtypes.DType) -> Array:
    """``array`` in native ``dtype``, C-contiguous and aligned; itself where it already is."""
    return np.require(array, dtype=dtype, requirements=("C", "A"))


def check_floating(dtype: dtypes.DType, argument: str) -> None:
    """Raises ValueError for integers and bool, TypeError for other types without a kernel."""
    native = dtype.newbyteorder("=")
    if native in dtypes.SUPPORTED:
        return
    if dtype.kind in "biu":
        raise dtypes.not_floating(dtype, argument)
    raise dtypes.unsupported(dtype.name, argument)


def as_size(value: Any, argument: str, *, minimum: int) -> int:
    """``value`` as an int in ``minimum`` to 2**30.

    Raises TypeError for what has no ``__index__`` (3.5, None, strings), ValueError outside.
    """
    try:
        size = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{argument} must be an integer, received {value!r} of type {type(value).__name__}"
        ) from None
    if size < minimum:
        raise ValueError(f"{argument} must be >= {minimum}, received {size}")
    if size > MAX_SIZE:
        raise ValueError(f"{argument} must be <= {MAX_SIZE}, received {size}")
    return size


def check_sizes(input_size: int, num_units: int, output_size: int) -> None:
    """Raises ValueError for sizes of a cell whose weights no memory could hold."""
    if input_size > MAX_SIZE:
        raise ValueError(f"input_size must be <= {MAX_SIZE}, received {input_size}")
    values = 4 * num_units * (input_size + output_size)
    if values > MAX_BYTES // 8:
        raise ValueError(
            f"num_units={num_units} with input_size={input_size} and outputs of width "
            f"{output_size}: weights of {values} values are more than memory can hold"
        )


def as_number(value: Any, argument: str) -> float:
    """``value`` as a float; True is 1.0, NaN and infinities pass.

    Raises ValueError for an integer beyond the floats, TypeError for what is no number.
    """
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{argument} must be a number, received {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{argument} is too large for a floating point number") from None
    except (TypeError, ValueError):
        raise TypeError(
            f"{argument} must be a number, received {value!r} of type {type(value).__name__}"
        ) from None


def as_flag(value: Any, argument: str) -> bool:
    """``value`` as a bool. Raises TypeError for what is neither bool nor integer."""
    if not isinstance(value, (bool, int, np.bool_, np.integer)):
        raise TypeError(f"{argument} must be True or False, received {value!r}")
    return bool(value)


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as TensorFlow's op errors print it: ``[2,3]``."""
    return "[" + ",".join(str(size) for size in shape) + "]"
