"""Zero states for any nesting of state sizes (TF API: ``RNNCell.zero_state``)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lstmcore import nest
from lstmcore.arrays import MAX_BYTES, Array
from lstmcore.dtypes import DType


def zeros_like_structure(state_size: Any, batch_size: Any, dtype: DType) -> Any:
    """Fresh zeros of shape batch + size for every size in ``state_size``, in the same structure.

    A size is an int or anything with ``as_list()`` (a shape of several dimensions). Tuples, lists,
    named tuples and mappings may be nested.
    """
    batch = _batch_shape(batch_size, state_size)

    def zeros(size: Any) -> Array:
        inner = size.as_list() if hasattr(size, "as_list") else [size]
        shape = (*batch, *(_dimension(item) for item in inner))
        if math.prod(shape) * dtype.itemsize > MAX_BYTES or max(shape, default=0) > MAX_BYTES:
            raise ValueError(f"batch_size: a state of shape {shape} is more than memory can hold")
        return np.zeros(shape, dtype)

    return nest.map_structure(zeros, state_size)


def _batch_shape(batch_size: Any, state_size: Any) -> tuple[int, ...]:
    """The leading dimensions: an int, or a vector of several."""
    if batch_size is None:
        raise ValueError(
            "Prefix or suffix can't be None. "
            f"Received prefix = {batch_size} and suffix = {state_size} (argument batch_size)"
        )
    if isinstance(batch_size, np.ndarray) or hasattr(batch_size, "__array__"):
        array = np.asarray(batch_size)
        if array.ndim > 1:
            raise ValueError(
                "Prefix tensor must be either a scalar or vector, but received tensor: "
                f"{batch_size} (argument batch_size)"
            )
        return tuple(_dimension(size) for size in np.atleast_1d(array))
    if hasattr(batch_size, "as_list"):
        batch_size = batch_size.as_list()
    sizes = batch_size if isinstance(batch_size, (list, tuple)) else (batch_size,)
    return tuple(_dimension(size) for size in sizes)


def _dimension(value: Any) -> int:
    if not hasattr(value, "__index__"):
        raise TypeError(
            "Dimension value must be integer or None or have an __index__ method, got value "
            f"'{value}' with type '{type(value)}' (batch_size, or a size of the state)"
        )
    size = int(value.__index__())
    if size < 0:
        raise ValueError(f"Dimension {size} must be >= 0 (batch_size, or a size of the state)")
    return size
