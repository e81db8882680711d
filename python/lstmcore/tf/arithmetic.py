"""TensorFlow's arithmetic and reductions as far as code around LSTM cells needs them.

Arguments called ``name`` have no meaning. Reductions keep the dtype, as in TensorFlow.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore.arrays import Array
from lstmcore.dtypes import DType, as_dtype
from lstmcore.errors import InvalidArgumentError
from lstmcore.tf.arrays import convert_to_tensor
from lstmcore.tf.keywords import renamed


def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    name: str | None = None,
) -> Array:
    """``a @ b``. Raises InvalidArgumentError for arrays of two dtypes, naming both."""
    left, right = _of_one_dtype("MatMul", a, b)
    left = np.swapaxes(left, -1, -2) if transpose_a else left
    result: Array = left @ (np.swapaxes(right, -1, -2) if transpose_b else right)
    return result


def add(x: Any, y: Any, name: str | None = None) -> Any:
    return np.add(convert_to_tensor(x), y)


def subtract(x: Any, y: Any, name: str | None = None) -> Any:
    return np.subtract(convert_to_tensor(x), y)


def multiply(x: Any, y: Any, name: str | None = None) -> Any:
    return np.multiply(convert_to_tensor(x), y)


def equal(x: Any, y: Any, name: str | None = None) -> Any:
    return np.equal(convert_to_tensor(x), y)


def exp(x: Any, name: str | None = None) -> Any:
    return np.exp(convert_to_tensor(x))


def log(x: Any, name: str | None = None) -> Any:
    """The natural logarithm; -inf for 0, NaN below, without NumPy's warnings."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(convert_to_tensor(x))


def sqrt(x: Any, name: str | None = None) -> Any:
    """The square root; NaN below 0, without NumPy's warning."""
    with np.errstate(invalid="ignore"):
        return np.sqrt(convert_to_tensor(x))


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    """Upper bound first, then the lower, as in TensorFlow: it matters where they cross."""
    return np.maximum(np.minimum(convert_to_tensor(t), clip_value_max), clip_value_min)


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Array:
    """``x`` where ``condition``, else ``y``; alone, the indices [found, rank] of what is true.

    A condition of rank 1 chooses whole rows of ``x`` and ``y``, as in TensorFlow 1. Raises
    ValueError where only one of them is given, InvalidArgumentError where their dtypes differ.
    """
    chosen = np.asarray(condition)
    if x is None and y is None:
        return np.argwhere(chosen).astype(np.int64)
    if x is None or y is None:
        raise ValueError("x and y must both be non-None or both be None.")
    left, right = _of_one_dtype("Select", x, y)
    if chosen.ndim == 1 and left.ndim > 1:
        if chosen.size != len(left):
            raise InvalidArgumentError(
                f"condition has {chosen.size} elements, x has {len(left)} rows"
            )
        chosen = chosen.reshape(-1, *(1,) * (left.ndim - 1))
    return np.where(chosen, left, right)


def reduce_sum(
    input_tensor: Any,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Any:
    array = convert_to_tensor(input_tensor)
    axes = _axes(renamed("axis", axis, "reduction_indices", reduction_indices))
    keep = bool(renamed("keepdims", keepdims, "keep_dims", keep_dims))
    return np.sum(array, axes, dtype=array.dtype, keepdims=keep)


def reduce_mean(
    input_tensor: Any,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Any:
    """The mean in the dtype of the input, so that integers lose the fraction."""
    array = convert_to_tensor(input_tensor)
    axes = _axes(renamed("axis", axis, "reduction_indices", reduction_indices))
    keep = bool(renamed("keepdims", keepdims, "keep_dims", keep_dims))
    return np.mean(array, axes, keepdims=keep).astype(array.dtype)


def reduce_max(
    input_tensor: Any,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Any:
    axes = _axes(renamed("axis", axis, "reduction_indices", reduction_indices))
    keep = bool(renamed("keepdims", keepdims, "keep_dims", keep_dims))
    return np.max(convert_to_tensor(input_tensor), axes, keepdims=keep)


def argmax(
    input: Any,
    axis: int | None = None,
    name: str | None = None,
    dimension: int | None = None,
    output_type: Any = "int64",
) -> Any:
    """Where the first largest value lies along ``axis``, 0 unless given."""
    along = renamed("axis", axis, "dimension", dimension) or 0
    return np.argmax(convert_to_tensor(input), along).astype(as_dtype(output_type))


def argmin(
    input: Any,
    axis: int | None = None,
    name: str | None = None,
    dimension: int | None = None,
    output_type: Any = "int64",
) -> Any:
    """Where the first smallest value lies along ``axis``, 0 unless given."""
    along = renamed("axis", axis, "dimension", dimension) or 0
    return np.argmin(convert_to_tensor(input), along).astype(as_dtype(output_type))


def _axes(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis


def _of_one_dtype(op: str, a: Any, b: Any) -> tuple[Array, Array]:
    """Both as arrays; Python numbers and lists take the dtype of the other, as in TensorFlow."""
    own_a, own_b = _own_dtype(a), _own_dtype(b)
    left, right = convert_to_tensor(a, own_a or own_b), convert_to_tensor(b, own_b or own_a)
    if left.dtype != right.dtype:
        raise InvalidArgumentError(
            f"cannot compute {op} as input #1(zero-based) was expected to be a "
            f"{left.dtype.name} tensor but is a {right.dtype.name} tensor"
        )
    return left, right


def _own_dtype(value: Any) -> DType | None:
    return convert_to_tensor(value).dtype if hasattr(value, "__array__") else None


__all__ = [
    "add",
    "argmax",
    "argmin",
    "clip_by_value",
    "equal",
    "exp",
    "log",
    "matmul",
    "multiply",
    "reduce_max",
    "reduce_mean",
    "reduce_sum",
    "sqrt",
    "subtract",
    "where",
]
