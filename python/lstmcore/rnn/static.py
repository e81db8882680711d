"""Unrolling a cell over a list of time steps.

TF API: ``tf.compat.v1.nn.static_rnn``, ``static_bidirectional_rnn``. Here too the time loop of this
package's cells is one native call; the steps are copied into one array for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore import nest
from lstmcore.arrays import Array, as_kernel_array
from lstmcore.placement import Placement, call_placement
from lstmcore.rnn import checks, loop
from lstmcore.rnn.unrolling import lengths_on_host, run_on_gpu, runs_natively, side_by_side
from lstmcore.unwinding import unwound
from lstmcore.variables.variable_scope import VariableScope, variable_scope


@unwound
def static_rnn(
    cell: Any,
    inputs: Any,
    initial_state: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: str | VariableScope | None = None,
    *,
    device: str | None = None,
    device_dtype: str | None = None,
    math: str = "ieee",
) -> tuple[list[Any], Any]:
    """Runs ``cell`` over a list of time steps.

    Args:
        cell: an RNNCell, or anything with its attributes.
        inputs: list of T arrays [N, I]; a cell of your own may take nested structures of arrays.
        initial_state, dtype, sequence_length, scope, device, device_dtype, math: as for
            ``dynamic_rnn``.

    Returns (list of T outputs [N, output_size], final state).

    Raises TypeError for what is no cell or no list, ValueError for an empty list, wrong ranks or a
    missing ``dtype``, InvalidArgumentError (a ValueError) for sizes or dtypes that do not match.
    """
    checks.check_rnn_cell("cell", cell)
    where = call_placement(cell, device, device_dtype, math)
    steps, rows = _checked_steps(inputs, where is not None)
    lengths = _checked_lengths(lengths_on_host(sequence_length, where), rows, len(steps))
    checks.check_state_source(initial_state, dtype)
    with variable_scope(scope or "rnn") as entered:
        return _unroll(cell, where, steps, rows, lengths, initial_state, dtype, entered)


@unwound
def static_bidirectional_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Any,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: str | VariableScope | None = None,
    *,
    device: str | None = None,
    device_dtype: str | None = None,
    math: str = "ieee",
) -> tuple[list[Any], Any, Any]:
    """``static_rnn`` in both directions, each row backwards within its own length.

    Arguments as for ``static_rnn``; lengths must be integers within 0..T. Scopes as for
    ``bidirectional_dynamic_rnn``.

    Returns (list of T outputs [N, output sizes of both], state of cell_fw, state of cell_bw).
    """
    checks.check_rnn_cell("cell_fw", cell_fw)
    checks.check_rnn_cell("cell_bw", cell_bw)
    where_fw, where_bw = checks.one_device(cell_fw, cell_bw, device, device_dtype, math)
    steps, rows = _checked_steps(inputs, where_fw is not None)
    lengths = _checked_lengths(
        lengths_on_host(sequence_length, where_fw), rows, len(steps), reversed_rows=True
    )
    checks.check_state_source(initial_state_fw, dtype)
    checks.check_state_source(initial_state_bw, dtype)
    with variable_scope(scope or "bidirectional_rnn"):
        with variable_scope("fw") as entered:
            forward, state_fw = _unroll(
                cell_fw, where_fw, steps, rows, lengths, initial_state_fw, dtype, entered
            )
        with variable_scope("bw") as entered:
            backward, state_bw = _unroll(
                cell_bw,
                where_bw,
                steps,
                rows,
                lengths,
                initial_state_bw,
                dtype,
                entered,
                reverse=True,
            )
    outputs = [
        nest.map_structure(lambda fw, bw: side_by_side([fw, bw], axis=1), fw, bw)
        for fw, bw in zip(forward, backward, strict=True)
    ]
    return outputs, state_fw, state_bw


def _checked_steps(inputs: Any, on_gpu: bool) -> tuple[list[Any], int]:
    """The steps with arrays for leaves, and the batch size they agree in."""
    if not nest.is_nested(inputs):
        raise TypeError(f"Argument `inputs` must be a sequence. Received: {inputs}")
    if not inputs:
        raise ValueError("Argument `inputs` must not be empty.")
    steps = [
        nest.map_structure(lambda leaf: checks.as_leaf(leaf, on_gpu=on_gpu), step)
        for step in inputs
    ]
    leaves = nest.flatten(steps)
    first = leaves[0]
    if first.ndim == 0:
        raise ValueError(f"Shape {first.shape} must have rank at least 2")
    # a first step of rank 1 is left to the cell, which may take it
    for leaf in leaves if first.ndim > 1 else ():
        if leaf.ndim < 2:
            raise ValueError(f"Shape {leaf.shape} must have rank at least 2")
        if leaf.shape[0] != first.shape[0]:
            raise ValueError(
                f"Dimensions {first.shape[0]} and {leaf.shape[0]} are not compatible: the steps of "
                "inputs differ in their batch size"
            )
    return steps, first.shape[0]


def _checked_lengths(
    sequence_length: Any, rows: int, steps: int, *, reversed_rows: bool = False
) -> Array | None:
    if sequence_length is None:
        return None
    lengths = checks.as_lengths(sequence_length)
    if lengths.ndim != 1:
        raise ValueError(
            f"Argument `sequence_length` must be a vector of length {rows}. "
            f"Received sequence_length={lengths}."
        )
    bounded_axis = 0 if reversed_rows else None
    return checks.checked_lengths(lengths, rows, steps, bounded_axis=bounded_axis)


def _unroll(
    cell: Any,
    where: Placement | None,
    steps: list[Any],
    rows: int,
    lengths: Array | None,
    initial_state: Any,
    dtype: Any,
    scope: VariableScope,
    *,
    reverse: bool = False,
) -> tuple[list[Any], Any]:
    """One direction, inside its scope."""
    joined = _joined(steps, where is not None)
    if joined is not None and not runs_natively(cell, where, joined):
        joined = None
    if joined is not None and where is not None:
        sequence = checks.Sequence(joined, True, len(steps), rows)
        outputs, final_state = run_on_gpu(
            cell, where, sequence, lengths, initial_state, dtype, reverse=reverse
        )
        return [outputs[step] for step in range(len(steps))], final_state
    if joined is not None and initial_state is None:
        checks.check_dtype_agrees(joined, dtype)
    state = initial_state
    if state is None:
        state = checks.default_state(cell, rows, dtype)
    if joined is not None:
        outputs, final_state = cell._run_sequence(
            as_kernel_array(joined, joined.dtype.newbyteorder("=")),
            state,
            lengths,
            where=None,
            time_major=True,
            reverse=reverse,
        )
        return list(outputs), final_state
    if not reverse:
        return loop.run_steps(cell, steps, rows, state, lengths, scope, dtype)
    backwards = reversed_steps(steps, lengths)
    outputs, final_state = loop.run_steps(cell, backwards, rows, state, lengths, scope, dtype)
    return reversed_steps(outputs, lengths), final_state


def _joined(steps: list[Any], on_gpu: bool) -> Any:
    """The steps as one array [T, N, I], or None where they are no arrays of one shape and dtype."""
    first = steps[0]
    if nest.is_nested(first):
        return None
    if on_gpu:
        from lstmcore import gpu

        if gpu.any_on_device(steps):
            return gpu.stacked(steps)
    for step in steps:
        if nest.is_nested(step) or step.shape != first.shape or step.dtype != first.dtype:
            return None
    return np.stack(steps)


def reversed_steps(steps: list[Any], lengths: Array | None) -> list[Any]:
    """Each row of a list of steps reversed within its length."""
    if lengths is None:
        return steps[::-1]
    columns = zip(*(nest.flatten(step) for step in steps), strict=True)
    turned = [loop.reversed_in_time(np.stack(column), lengths, 0) for column in columns]
    return [
        nest.pack_as(step, [leaf[index] for leaf in turned]) for index, step in enumerate(steps)
    ]
