"""What the unrolling functions accept: cells, inputs, lengths and initial states, checked first."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lstmcore import dtypes, nest
from lstmcore.arrays import Array, as_array, refuse_masked
from lstmcore.errors import InvalidArgumentError
from lstmcore.placement import Placement, call_placement, name_of


def check_rnn_cell(argument: str, cell: Any) -> None:
    """Raises TypeError for what cannot be unrolled; any object with a cell's attributes can be."""
    missing = [
        text
        for text, present in (
            ("'output_size' property is missing", hasattr(cell, "output_size")),
            ("'state_size' property is missing", hasattr(cell, "state_size")),
            (
                "either 'zero_state' or 'get_initial_state' method is required",
                hasattr(cell, "zero_state") or hasattr(cell, "get_initial_state"),
            ),
            ("is not callable", callable(cell)),
        )
        if not present
    ]
    if missing:
        raise TypeError(
            f"The argument {argument!r} ({cell}) is not an RNNCell: {', '.join(missing)}."
        )


class Sequence(NamedTuple):
    """Checked inputs: a structure of arrays that agree in time and batch.

    Leaves [T, N, ...] where ``time_major``, else [N, T, ...].
    """

    inputs: Any
    time_major: bool
    steps: int
    rows: int

    @property
    def time_axis(self) -> int:
        return 0 if self.time_major else 1


def checked_sequence(inputs: Any, time_major: bool, *, on_gpu: bool = False) -> Sequence:
    """Raises ValueError, in TensorFlow's words, for a missing dimension or unequal T or N.

    ``on_gpu``: arrays on a GPU may come, and stay as they are.
    """
    leaves = [as_leaf(leaf, on_gpu=on_gpu) for leaf in nest.flatten(inputs)]
    if not leaves:
        raise ValueError(f"inputs must not be empty, received {inputs!r}")
    for leaf in leaves:
        if leaf.ndim < 2:
            hint = " (a list is taken as several inputs: pass an array)" if leaf.ndim == 0 else ""
            raise ValueError(
                f"Input tensor should have rank >= 2. Received input={leaf} of rank {leaf.ndim}"
                + hint
            )
    shapes = [leaf.shape if time_major else _swapped(leaf.shape) for leaf in leaves]
    for shape in shapes:
        if len(shape) < 3:
            raise ValueError(
                f"Shape {shape} must have rank at least 3: inputs are "
                + ("[time, batch, depth]" if time_major else "[batch, time, depth]")
            )
    steps, rows = shapes[0][:2]
    for shape in shapes:
        if shape[0] != steps:
            raise ValueError(
                "Time steps is not the same for all the elements in the input in a batch. "
                f"Received time steps={shape[0]} for an input after one of {steps}."
            )
        if shape[1] != rows:
            raise ValueError(
                "Batch_size is not the same for all the elements in the input. "
                f"Received batch size={shape[1]} for an input after one of {rows}."
            )
    return Sequence(nest.pack_as(inputs, leaves), bool(time_major), steps, rows)


def checked_lengths(
    sequence_length: Any, rows: int, steps: int, *, bounded_axis: int | None = None
) -> Array | None:
    """``sequence_length`` as int64 [N] within 0..T, or None.

    Fractions are cut off, bool counts as 0 and 1, and lengths outside 0..T act as 0 and T. Where
    rows are reversed along ``bounded_axis``, floats and lengths outside 0..T are errors.

    Raises ValueError for another rank and for NaN, InvalidArgumentError for another count or for
    values out of bounds, TypeError for what are no numbers.
    """
    if sequence_length is None:
        return None
    lengths = as_lengths(sequence_length)
    if lengths.ndim != 1:
        raise ValueError(
            "Argument sequence_length must be a vector of length batch_size. Received "
            f"sequence_length={lengths} of shape: {lengths.shape}"
        )
    check_length_count(lengths, rows)
    if bounded_axis is not None:
        check_length_bounds(lengths, steps, bounded_axis)
    return clipped_lengths(lengths, steps)


def as_lengths(sequence_length: Any) -> Array:
    """``sequence_length`` as an array of numbers, of any shape."""
    refuse_masked(sequence_length, "sequence_length")
    lengths = np.asarray(sequence_length)
    if not lengths.size:
        return lengths.astype(np.int64)  # an empty list would be float
    if lengths.dtype.kind not in "biuf":
        raise TypeError(
            "sequence_length must hold integers: "
            f"received dtype {lengths.dtype.name}, sequence_length={sequence_length!r}"
        )
    if lengths.dtype.kind == "f" and np.isnan(lengths).any():
        raise ValueError(f"sequence_length must not contain NaN, received {lengths}")
    return lengths


def check_length_count(lengths: Array, rows: int) -> None:
    if lengths.shape[0] != rows:
        raise InvalidArgumentError(
            "Number of batches of 'then' must match size of 'cond', but saw: "
            f"{rows} vs. {lengths.shape[0]} (sequence_length has {lengths.shape[0]} entries for a "
            f"batch of {rows})"
        )


def check_length_bounds(lengths: Array, steps: int, time_axis: int) -> None:
    """What TensorFlow's ReverseSequence asks of the lengths."""
    if lengths.dtype.kind == "f":
        name = "double" if lengths.dtype == np.float64 else "float"
        raise InvalidArgumentError(
            f"Value for attr 'Tlen' of {name} is not in the list of allowed values: int32, int64 "
            "(sequence_length)"
        )
    for row, length in enumerate(lengths):
        if length < 0:
            raise InvalidArgumentError(f"seq_lens({row}) < 0 (sequence_length has {length})")
        if length > steps:
            raise InvalidArgumentError(
                f"seq_lens({row}) > input.dims({time_axis}) (sequence_length has {length}, "
                f"inputs have {steps} steps)"
            )


def clipped_lengths(lengths: Array, steps: int) -> Array:
    # clipped before the cast, which would wrap values outside int64
    return np.clip(lengths, 0, steps).astype(np.int64)


def check_parallel_iterations(value: Any) -> None:
    """The argument says how TensorFlow may schedule steps; it has no meaning beyond its checks."""
    if not isinstance(value or 32, int):
        raise AssertionError(f"parallel_iterations must be int, received {value!r}")
    if value and value < 0:
        raise TypeError(f"'parallel_iterations' must be a positive integer. Received {value}")


def check_state_source(initial_state: Any, dtype: Any) -> None:
    if initial_state is None and not dtype:
        raise ValueError("If no initial_state is provided, argument `dtype` must be specified")


def default_state(cell: Any, rows: int, dtype: Any) -> Any:
    """The cell's own initial state, in ``dtype``; runs inside the scope, for it may be learned."""
    if getattr(cell, "get_initial_state", None) is not None:
        return cell.get_initial_state(inputs=None, batch_size=rows, dtype=dtype)
    return cell.zero_state(rows, dtype)


def check_dtype_agrees(inputs: Array, dtype: Any) -> None:
    """For our cells the dtype of a default state must be that of the inputs.

    Raises InvalidArgumentError in TensorFlow's words; ValueError and TypeError as ``as_dtype``.
    """
    wanted = dtypes.as_compute_dtype(dtype)
    if inputs.dtype.newbyteorder("=") != wanted:
        names = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
        raise InvalidArgumentError(
            "cannot compute ConcatV2 as input #1(zero-based) was expected to be a "
            f"{names[inputs.dtype.newbyteorder('=')]} tensor but is a {names[wanted]} tensor "
            f"(inputs are {inputs.dtype.name}, dtype is {wanted.name})"
        )


def one_device(
    cell_fw: Any, cell_bw: Any, device: Any, device_dtype: Any, math: Any
) -> list[Placement | None]:
    """Where both cells run, as ``call_placement``. Raises ValueError for two devices."""
    places = [call_placement(cell, device, device_dtype, math) for cell in (cell_fw, cell_bw)]
    devices = [name_of(place) for place in places]
    if devices[0] != devices[1]:
        raise ValueError(
            f"cell_fw, cell_bw: expected one device, got {devices[0]} and {devices[1]}"
        )
    return places


def as_leaf(leaf: Any, *, on_gpu: bool) -> Any:
    if on_gpu:
        from lstmcore.gpu import is_on_device

        if is_on_device(leaf):
            return leaf
    if leaf is None:
        raise ValueError(
            "Attempt to convert a value (None) with an unsupported type (<class 'NoneType'>) to a "
            "Tensor: inputs"
        )
    if isinstance(leaf, (bool, int, float)):
        return np.asarray(leaf)
    return as_array(leaf, "inputs")


def _swapped(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[1], shape[0], *shape[2:])
