"""Inputs and states of LSTM cells: checked, in TensorFlow's words, and made fit for the kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lstmcore.arrays import Array, as_array, as_kernel_array, check_floating, shape_text
from lstmcore.errors import InvalidArgumentError
from lstmcore.layers.input_spec import InputSpec, check_rank, flatten

_TENSORFLOW_NAMES = {"float32": "float", "float64": "double"}


def unpacked_state(
    state: Any, split: Callable[[Array], tuple[Array, Array]], is_tuple: bool
) -> tuple[Array, Array]:
    """(c, h) of a state of either form, with floating dtypes.

    Raises AttributeError for parts that are no arrays, ValueError for another number of parts or
    integers, TypeError for dtypes without a kernel.
    """
    if isinstance(state, Mapping):
        raise TypeError(f"state must be (c, h) or one array, received {type(state).__name__}")
    for leaf in flatten(state):
        if not hasattr(leaf, "dtype"):
            raise AttributeError(
                f"'{type(leaf).__name__}' object has no attribute 'dtype' (in state: arrays are "
                "expected)"
            )
    if not is_tuple:
        return split(as_array(state, "state"))
    try:
        c, h = state
    except ValueError as error:
        raise ValueError(f"{error}: state must be (c, h)") from None
    parts = as_array(c, "c of state"), as_array(h, "h of state")
    for part, name in zip(parts, ("c of state", "h of state"), strict=True):
        check_floating(part.dtype, name)
    return parts


def checked_inputs(inputs: Array, kernel: Any, layer_name: str, spec: InputSpec) -> Array:
    """``inputs`` in the dtype and layout of the kernels; its rank must be that of ``spec``.

    Raises InvalidArgumentError where the cell was built with the other dtype.
    """
    check_floating(inputs.dtype, "inputs")
    check_rank(spec, inputs.shape, layer_name)
    if inputs.dtype.newbyteorder("=") != kernel.dtype:
        given, built = inputs.dtype.name, kernel.dtype.name
        raise InvalidArgumentError(
            "cannot compute MatMul as input #1(zero-based) was expected to be a "
            f"{_TENSORFLOW_NAMES[given]} tensor but is a {_TENSORFLOW_NAMES[built]} tensor: inputs "
            f"have dtype {given}, {layer_name} was built with {built}"
        )
    return as_kernel_array(inputs, kernel.dtype)


def checked_state(
    state: tuple[Array, Array],
    inputs_shape: tuple[int, ...],
    kernel: Any,
    num_units: int,
    output_size: int,
) -> tuple[Array, Array]:
    """c [N, num_units] and h [N, output_size] for inputs [N, I], in the kernel's dtype.

    c may broadcast to its shape. Raises InvalidArgumentError for shapes that do not fit.
    """
    c, h = state
    batch, depth = inputs_shape
    if h.ndim != 2:
        raise InvalidArgumentError(
            "ConcatOp : Ranks of all input tensors should match: shape[0] = "
            f"{shape_text(inputs_shape)} vs. shape[1] = {shape_text(h.shape)} "
            "(inputs and h of state)"
        )
    if h.shape[0] != batch:
        raise InvalidArgumentError(
            "ConcatOp : Dimension 0 in both shapes must be equal: shape[0] = "
            f"{shape_text(inputs_shape)} vs. shape[1] = {shape_text(h.shape)} "
            "(inputs and h of state)"
        )
    rows = kernel.shape[0]
    if h.shape[1] != output_size or depth + output_size != rows:
        raise InvalidArgumentError(
            f"Matrix size-incompatible: In[0]: {shape_text((batch, depth + h.shape[1]))}, In[1]: "
            f"{shape_text(kernel.shape)}; expected inputs of depth {rows - output_size} and h of "
            f"state of width {output_size}, received {depth} and {h.shape[1]}"
        )
    shape = (batch, num_units)
    if c.shape != shape:
        try:
            c = np.broadcast_to(c, shape)
        except ValueError:
            raise InvalidArgumentError(
                f"Incompatible shapes: {shape_text(shape)} vs. {shape_text(c.shape)} (expected and "
                "received c of state)"
            ) from None
    return as_kernel_array(c, kernel.dtype), as_kernel_array(h, kernel.dtype)


def sliced_state(state: Array, num_units: int, output_size: int) -> tuple[Array, Array]:
    """Columns c then h of a concatenated state; further columns are ignored (TF's LSTMCell)."""
    _check_concatenated(state)
    for start, size in ((0, num_units), (num_units, output_size)):
        available = max(0, state.shape[1] - start)
        if available < size:
            raise InvalidArgumentError(
                f"Expected size[1] in [0, {available}], but got {size}: state must be "
                f"[batch, {num_units + output_size}], received {shape_text(state.shape)}"
            )
    return state[:, :num_units], state[:, num_units : num_units + output_size]


def halved_state(state: Array) -> tuple[Array, Array]:
    """The two halves of a concatenated state (TF's BasicLSTMCell)."""
    _check_concatenated(state)
    width = state.shape[1]
    if width % 2:
        raise InvalidArgumentError(
            "Number of ways to split should evenly divide the split dimension, but got split_dim 1 "
            f"(size = {width}) and num_split 2: state must be [batch, 2 * num_units], received "
            f"{shape_text(state.shape)}"
        )
    return state[:, : width // 2], state[:, width // 2 :]


def _check_concatenated(state: Array) -> None:
    check_floating(state.dtype, "state")
    if state.ndim != 2:
        raise InvalidArgumentError(
            "state must be one array of shape [batch, num_units + output_size] as "
            f"state_is_tuple=False, received {shape_text(state.shape)}"
        )
