"""TensorFlow's array functions as far as code around LSTM cells needs them; NumPy arrays result.

As in TensorFlow, Python floats become float32 and Python integers int32, and arrays keep their
dtype. ``name`` arguments have no meaning.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore.arrays import Array
from lstmcore.dtypes import as_dtype
from lstmcore.errors import InvalidArgumentError
from lstmcore.rnn import checks, loop
from lstmcore.tf.keywords import renamed

# Creation


def convert_to_tensor(value: Any, dtype: Any = None, name: str | None = None) -> Array:
    """``value`` as an array; itself where it is one of that dtype."""
    if dtype is not None:
        return np.asarray(value, as_dtype(dtype))
    array = np.asarray(value)
    if isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__array__"):
        return array
    return array.astype({"f": np.float32, "i": np.int32}.get(array.dtype.kind, array.dtype))


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str | None = None) -> Array:
    """A new array of ``value``; one number fills ``shape``."""
    array = np.array(convert_to_tensor(value, dtype))
    if shape is None:
        return array
    return np.full(shape, array) if array.ndim == 0 else array.reshape(shape)


def zeros(shape: Any, dtype: Any = "float32", name: str | None = None) -> Array:
    return np.zeros(shape, as_dtype(dtype))


def ones(shape: Any, dtype: Any = "float32", name: str | None = None) -> Array:
    return np.ones(shape, as_dtype(dtype))


def fill(dims: Any, value: Any, name: str | None = None) -> Array:
    return np.full(dims, convert_to_tensor(value))


def zeros_like(tensor: Any, dtype: Any = None, name: str | None = None) -> Array:
    return np.zeros_like(convert_to_tensor(tensor), None if dtype is None else as_dtype(dtype))


def ones_like(tensor: Any, dtype: Any = None, name: str | None = None) -> Array:
    return np.ones_like(convert_to_tensor(tensor), None if dtype is None else as_dtype(dtype))


def one_hot(indices: Any, depth: int, dtype: Any = "float32", name: str | None = None) -> Any:
    """A last axis of ``depth`` with 1 at each index; nothing but 0 for an index outside."""
    return (np.asarray(indices)[..., None] == np.arange(depth)).astype(as_dtype(dtype))


def range(
    start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str | None = None
) -> Array:
    """start, start + delta, ... below ``limit``; one number alone is the limit."""
    values = np.arange(start) if limit is None else np.arange(start, limit, delta)
    if dtype is None:
        dtype = np.float32 if values.dtype.kind == "f" else np.int32
    return values.astype(as_dtype(dtype))


def identity(input: Any, name: str | None = None) -> Array:
    return np.array(convert_to_tensor(input))


def cast(x: Any, dtype: Any, name: str | None = None) -> Array:
    return convert_to_tensor(x).astype(as_dtype(dtype))


def to_float(x: Any, name: str | None = None) -> Array:
    return cast(x, "float32")


def to_int32(x: Any, name: str | None = None) -> Array:
    return cast(x, "int32")


# Shapes


def shape(input: Any, name: str | None = None, out_type: Any = "int32") -> Array:
    return np.array(np.shape(input), as_dtype(out_type))


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Array:
    return np.reshape(convert_to_tensor(tensor), shape)


def transpose(a: Any, perm: Any = None, name: str | None = None) -> Array:
    return np.transpose(convert_to_tensor(a), perm)


def expand_dims(
    input: Any, axis: int | None = None, name: str | None = None, dim: int | None = None
) -> Array:
    where = renamed("axis", axis, "dim", dim)
    if where is None:
        raise ValueError("expand_dims needs an axis")
    return np.expand_dims(convert_to_tensor(input), where)


def squeeze(
    input: Any, axis: Any = None, name: str | None = None, squeeze_dims: Any = None
) -> Array:
    axes = renamed("axis", axis, "squeeze_dims", squeeze_dims)
    return np.squeeze(convert_to_tensor(input), tuple(axes) if isinstance(axes, list) else axes)


def concat(values: Any, axis: int, name: str | None = None) -> Array:
    return np.concatenate([convert_to_tensor(value) for value in values], axis)


def stack(values: Any, axis: int = 0, name: str | None = None) -> Array:
    return np.stack([convert_to_tensor(value) for value in values], axis)


def unstack(
    value: Any, num: int | None = None, axis: int = 0, name: str | None = None
) -> list[Array]:
    """The slices along ``axis``; raises ValueError where they are not ``num``."""
    slices = list(np.moveaxis(convert_to_tensor(value), axis, 0))
    if num is not None and num != len(slices):
        raise ValueError(f"value has {len(slices)} slices along axis {axis}, num is {num}")
    return slices


def split(
    value: Any, num_or_size_splits: Any, axis: int = 0, name: str | None = None
) -> list[Array]:
    """Equal parts for a number, parts of the given sizes (one may be -1, the rest) for a list."""
    array = convert_to_tensor(value)
    if np.ndim(num_or_size_splits) == 0:
        return np.split(array, int(num_or_size_splits), axis)
    sizes = [int(size) for size in num_or_size_splits]
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = array.shape[axis] - sum(sizes) - 1
    if min(sizes, default=0) < 0 or sum(sizes) != array.shape[axis]:
        raise ValueError(
            f"num_or_size_splits {list(num_or_size_splits)} do not add up to the "
            f"{array.shape[axis]} of axis {axis}"
        )
    return np.split(array, np.cumsum(sizes)[:-1], axis)


def tile(input: Any, multiples: Any, name: str | None = None) -> Array:
    return np.tile(convert_to_tensor(input), multiples)


def reverse(tensor: Any, axis: Any, name: str | None = None) -> Array:
    return np.flip(convert_to_tensor(tensor), tuple(axis) if isinstance(axis, list) else axis)


def reverse_sequence(
    input: Any,
    seq_lengths: Any,
    seq_axis: int = 1,
    batch_axis: int = 0,
    name: str | None = None,
) -> Array:
    """Each row reversed within its length; axes 0 and 1 in either order.

    Raises InvalidArgumentError for lengths that do not fit the input.
    """
    if {seq_axis, batch_axis} != {0, 1}:
        raise ValueError(f"seq_axis and batch_axis must be 0 and 1: {seq_axis} and {batch_axis}")
    array = convert_to_tensor(input)
    lengths = checks.checked_lengths(
        seq_lengths, array.shape[batch_axis], array.shape[seq_axis], bounded_axis=seq_axis
    )
    return loop.reversed_in_time(array, lengths, seq_axis)


def sequence_mask(
    lengths: Any, maxlen: int | None = None, dtype: Any = np.bool_, name: str | None = None
) -> Array:
    limits = np.asarray(lengths)
    steps = np.arange(limits.max(initial=0) if maxlen is None else maxlen)
    return (steps < limits[..., None]).astype(as_dtype(dtype))


def gather(params: Any, indices: Any, axis: int = 0, name: str | None = None) -> Array:
    """Slices of ``params`` along ``axis``, for integers of any shape.

    Raises InvalidArgumentError, naming it, for an index below 0 or past the end.
    """
    array, wanted = convert_to_tensor(params), np.asarray(indices)
    check_indices(wanted, array.shape[axis])
    return np.take(array, wanted, axis)


def check_indices(indices: Array, limit: int) -> None:
    if indices.dtype.kind not in "iu" and indices.size:
        raise TypeError(f"indices must be integers, received dtype {indices.dtype.name}")
    outside = np.argwhere((indices < 0) | (indices >= limit))
    if len(outside):
        first = tuple(outside[0])
        place = ",".join(map(str, first))
        raise InvalidArgumentError(f"indices[{place}] = {indices[first]} is not in [0, {limit})")


__all__ = [
    "cast",
    "concat",
    "constant",
    "convert_to_tensor",
    "expand_dims",
    "fill",
    "gather",
    "identity",
    "one_hot",
    "ones",
    "ones_like",
    "range",
    "reshape",
    "reverse",
    "reverse_sequence",
    "sequence_mask",
    "shape",
    "split",
    "squeeze",
    "stack",
    "tile",
    "to_float",
    "to_int32",
    "transpose",
    "unstack",
    "zeros",
    "zeros_like",
]
