"""TensorFlow's array functions as far as code around LSTM cells needs them; NumPy arrays result.

As in TensorFlow, Python floats become float32 and Python integers int32, and arrays keep their
dtype. ``name`` arguments have no meaning.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore.arrays import Array
from lstmcore.dtypes import as_dtype
from lstmcore.rnn import checks, loop

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


# Shapes


def shape(input: Any, name: str | None = None, out_type: Any = "int32") -> Array:
    return np.array(np.shape(input), as_dtype(out_type))


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Array:
    return np.reshape(convert_to_tensor(tensor), shape)


def transpose(a: Any, perm: Any = None, name: str | None = None) -> Array:
    return np.transpose(convert_to_tensor(a), perm)


def expand_dims(input: Any, axis: int, name: str | None = None) -> Array:
    return np.expand_dims(convert_to_tensor(input), axis)


def squeeze(input: Any, axis: Any = None, name: str | None = None) -> Array:
    return np.squeeze(convert_to_tensor(input), tuple(axis) if isinstance(axis, list) else axis)


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
    return np.take(convert_to_tensor(params), np.asarray(indices), axis)


# Arithmetic


def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    name: str | None = None,
) -> Array:
    left, right = convert_to_tensor(a), convert_to_tensor(b)
    left = np.swapaxes(left, -1, -2) if transpose_a else left
    result: Array = left @ (np.swapaxes(right, -1, -2) if transpose_b else right)
    return result


def add(x: Any, y: Any, name: str | None = None) -> Any:
    return np.add(convert_to_tensor(x), y)


def subtract(x: Any, y: Any, name: str | None = None) -> Any:
    return np.subtract(convert_to_tensor(x), y)


def multiply(x: Any, y: Any, name: str | None = None) -> Any:
    return np.multiply(convert_to_tensor(x), y)


def reduce_sum(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Any:
    return np.sum(convert_to_tensor(input_tensor), _axes(axis), keepdims=keepdims)


def reduce_mean(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Any:
    return np.mean(convert_to_tensor(input_tensor), _axes(axis), keepdims=keepdims)


def reduce_max(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Any:
    return np.max(convert_to_tensor(input_tensor), _axes(axis), keepdims=keepdims)


def argmax(input: Any, axis: int = 0, name: str | None = None) -> Any:
    return np.argmax(convert_to_tensor(input), axis)


def exp(x: Any, name: str | None = None) -> Array:
    return np.exp(convert_to_tensor(x))


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    """Upper bound first, then the lower, as in TensorFlow: it matters where they cross."""
    return np.maximum(np.minimum(convert_to_tensor(t), clip_value_max), clip_value_min)


def _axes(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis


__all__ = [
    "add",
    "argmax",
    "cast",
    "clip_by_value",
    "concat",
    "constant",
    "convert_to_tensor",
    "exp",
    "expand_dims",
    "fill",
    "gather",
    "identity",
    "matmul",
    "multiply",
    "one_hot",
    "ones",
    "ones_like",
    "range",
    "reduce_max",
    "reduce_mean",
    "reduce_sum",
    "reshape",
    "reverse",
    "reverse_sequence",
    "sequence_mask",
    "shape",
    "split",
    "squeeze",
    "stack",
    "subtract",
    "tile",
    "transpose",
    "unstack",
    "zeros",
    "zeros_like",
]
