"""What a layer accepts as inputs, checked before anything is built (TF API: ``InputSpec``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from lstmcore.arrays import Array, as_array


class InputSpec(NamedTuple):
    """The rank a layer's single input must have."""

    ndim: int

    def __repr__(self) -> str:
        return f"InputSpec(ndim={self.ndim})"


def flatten(structure: Any) -> Iterator[Any]:
    """The leaves of nested lists, tuples and mappings (these in key order)."""
    if isinstance(structure, (list, tuple)):
        for item in structure:
            yield from flatten(item)
    elif isinstance(structure, Mapping):
        for key in sorted(structure):
            yield from flatten(structure[key])
    else:
        yield structure


def checked_input(spec: InputSpec, inputs: Any, layer_name: str) -> Array:
    """``inputs`` as the one array ``spec`` asks for.

    Raises ValueError for another rank or several inputs (Python lists are several inputs, as in
    TensorFlow), TypeError for what is no array.
    """
    leaves = list(flatten(inputs))
    numbers = (int, float, np.generic)
    for leaf in leaves:
        if not hasattr(leaf, "shape") and not isinstance(leaf, numbers):
            raise TypeError(
                f"Inputs to a layer should be tensors. Got '{leaf}' (of type {type(leaf)}) as "
                f"input for layer '{layer_name}'."
            )
    if isinstance(inputs, (list, tuple, Mapping)):
        raise ValueError(
            f'Layer "{layer_name}" expects 1 input(s), but it received {len(leaves)} input '
            f"tensors. Inputs received: {_shortened(inputs)} (a list is taken as several inputs: "
            "pass an array)"
        )
    array = np.asarray(inputs) if isinstance(inputs, numbers) else as_array(inputs, "inputs")
    check_rank(spec, array.shape, layer_name)
    return array


def check_rank(spec: InputSpec, shape: tuple[int, ...], layer_name: str) -> None:
    if len(shape) != spec.ndim:
        raise ValueError(
            f'Input 0 of layer "{layer_name}" is incompatible with the layer: expected '
            f"ndim={spec.ndim}, found ndim={len(shape)}. Full shape received: {shape}"
        )


def _shortened(inputs: Any) -> str:
    text = str(inputs)
    return text if len(text) <= 200 else f"{text[:200]}..."


def last_dimension(shape: Any) -> int:
    """The depth of an input shape: its last entry, or the int itself.

    Raises ValueError when it is unknown (None), in TensorFlow's words, or negative.
    """
    if shape is None:
        raise ValueError("as_list() is not defined on an unknown TensorShape.")
    if hasattr(shape, "as_list"):
        shape = shape.as_list()
    sizes = tuple(shape) if hasattr(shape, "__iter__") else (shape,)
    depth = sizes[-1] if sizes else None
    if depth is None:
        raise ValueError(f"Expected inputs.shape[-1] to be known, received shape: {sizes}")
    if not hasattr(depth, "__index__"):
        raise TypeError(
            "Dimension value must be integer or None or have an __index__ method, got value "
            f"'{depth}' with type '{type(depth)}'"
        )
    if depth < 0:
        raise ValueError(f"Dimension {depth} must be >= 0")
    return int(depth)
