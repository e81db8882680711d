"""The time loop in Python, for cells that have no native one: a user's own RNNCell.

Past a row's length the output is 0 and the state stays. Both are selected, not multiplied by a
mask, so NaN or infinities in the padding never reach a result.
"""

from __future__ import annotations

import collections.abc
import functools
from typing import Any

import numpy as np

from lstmcore import dtypes, nest
from lstmcore.arrays import Array
from lstmcore.rnn.checks import Sequence
from lstmcore.variables.variable_scope import VariableScope


def run_sequence(
    cell: Any,
    sequence: Sequence,
    state: Any,
    lengths: Array | None,
    scope: VariableScope,
    dtype: Any,
    *,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Runs ``cell`` over all steps; returns stacked outputs in the layout of the inputs, and state.

    ``reverse`` runs each row backwards inside its own length, as TensorFlow's reverse_sequence does
    before and after the loop. ``dtype`` is that of the outputs where no step runs (T = 0).
    """
    axis = sequence.time_axis
    inputs = sequence.inputs
    if reverse:
        inputs = nest.map_structure(lambda leaf: reversed_in_time(leaf, lengths, axis), inputs)
    steps = [_step_of(inputs, step, axis) for step in range(sequence.steps)]
    outputs, state = run_steps(cell, steps, sequence.rows, state, lengths, scope, dtype)
    if not steps:
        stacked = _no_outputs(cell, sequence, state, dtype)
    else:
        stacked = nest.map_structure(lambda *leaves: np.stack(leaves, axis), *outputs)
    if reverse:
        stacked = nest.map_structure(lambda leaf: reversed_in_time(leaf, lengths, axis), stacked)
    return stacked, state


def run_steps(
    cell: Any,
    steps: collections.abc.Sequence[Any],
    rows: int,
    state: Any,
    lengths: Array | None,
    scope: VariableScope,
    dtype: Any,
) -> tuple[list[Any], Any]:
    """One call of ``cell`` per step; returns the outputs of all steps, and the final state.

    Steps past the longest row are not run, but the first always is, so that a cell gets built.
    """
    live = len(steps)
    if lengths is not None:
        live = min(live, max(1, int(lengths.max(initial=0))))
    outputs = []
    for step in range(live):
        if step == 1:
            # TensorFlow traces the loop's body once; here a cell that calls get_variable in every
            # step must find what the first step created.
            scope.reuse_variables()
        output, new_state = cell(steps[step], state)
        nest.check_same_structure(state, new_state, ("state", "the state that the cell returned"))
        if lengths is None:
            finished = np.zeros(rows, np.bool_)
        else:
            nest.check_same_structure(cell.output_size, output, ("output_size", "output"))
            finished = step >= lengths
        select = functools.partial(_select, finished)
        outputs.append(nest.map_structure(select, output))
        state = nest.map_structure(select, new_state, state)
    zero = outputs[0] if outputs else None
    outputs += [nest.map_structure(np.zeros_like, zero) for _ in range(len(steps) - live)]
    return outputs, nest.map_structure(np.array, state)


def reversed_in_time(leaf: Array, lengths: Array | None, time_axis: int) -> Array:
    """Each row reversed within its length, or altogether; what lies past the length stays.

    ``leaf`` is [T, N, ...] for time_axis 0 and [N, T, ...] for 1.
    """
    if lengths is None:
        return np.flip(leaf, time_axis)
    rows = np.arange(lengths.shape[0])[:, None]
    positions = np.arange(leaf.shape[time_axis])[None, :]
    source = np.where(positions < lengths[:, None], lengths[:, None] - 1 - positions, positions)
    return leaf[rows, source] if time_axis else leaf[source.T, rows.T]


def _select(finished: Array, new: Any, kept: Any = None) -> Any:
    """Per row ``kept`` (zeros if None) where finished, else ``new``; always a fresh array."""
    new = np.array(new)
    if new.ndim == 0:
        return new
    if kept is None:
        kept = np.zeros((), new.dtype)
    elif np.shape(kept) != new.shape:
        raise ValueError(
            f"A state enters the loop with shape {np.shape(kept)}, but has shape {new.shape} after "
            "one iteration"
        )
    if finished.any():
        mask = finished.reshape(finished.shape + (1,) * (new.ndim - 1))
        np.copyto(new, kept, where=mask, casting="same_kind")
    return new


def _step_of(inputs: Any, step: int, time_axis: int) -> Any:
    return nest.map_structure(lambda leaf: _read_only(leaf[_slice(time_axis, step)]), inputs)


def _slice(time_axis: int, step: int) -> tuple[Any, ...]:
    return (slice(None), step) if time_axis else (step,)


def _read_only(view: Array) -> Array:
    """A cell that writes into its inputs must not write into the caller's array."""
    view = view.view()
    view.flags.writeable = False
    return view


def _no_outputs(cell: Any, sequence: Sequence, state: Any, dtype: Any) -> Any:
    """What a sequence of no steps gives: arrays that are empty along the time axis."""
    found = dtypes.as_dtype(dtype) if dtype else np.asarray(nest.flatten(state)[0]).dtype
    leading = (0, sequence.rows) if sequence.time_major else (sequence.rows, 0)

    def empty(size: Any) -> Array:
        shape = tuple(size.as_list()) if hasattr(size, "as_list") else (size,)
        return np.zeros((*leading, *shape), found)

    return nest.map_structure(empty, cell.output_size)
