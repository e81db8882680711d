"""One direction of a cell over a sequence: in a native call where the cell has one, else step by
step."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore import nest
from lstmcore.arrays import Array, as_kernel_array, check_floating
from lstmcore.cells.rnn_cell import LSTMStateTuple, RNNCell
from lstmcore.errors import is_refusal
from lstmcore.placement import Placement, stand_ins
from lstmcore.rnn import checks, loop
from lstmcore.variables.variable_scope import VariableScope


def unroll(
    cell: Any,
    where: Placement | None,
    sequence: checks.Sequence,
    lengths: Array | None,
    initial_state: Any,
    dtype: Any,
    scope: VariableScope,
    *,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Inside its scope; ``where`` is the GPU to run on."""
    native = runs_natively(cell, where, sequence.inputs)
    if native and where is not None:
        return run_on_gpu(cell, where, sequence, lengths, initial_state, dtype, reverse=reverse)
    plain = plain_call(cell, sequence, initial_state, dtype) if native else None
    if plain is not None:
        core, c, h = plain
        try:
            outputs, c, h = core.forward(
                sequence.inputs, c, h, lengths, time_major=sequence.time_major, reverse=reverse
            )
        except (TypeError, ValueError) as error:
            if not is_refusal(error):
                raise
            # found out below: convert, or say what is wrong in TensorFlow's words
        else:
            cell._note_open()
            return outputs, LSTMStateTuple(c, h)
    if native and initial_state is None:
        checks.check_dtype_agrees(sequence.inputs, dtype)
    state = initial_state
    if state is None:
        state = checks.default_state(cell, sequence.rows, dtype)
    if native:
        outputs, final_state = cell._run_sequence(
            as_kernel_array(sequence.inputs, sequence.inputs.dtype.newbyteorder("=")),
            state,
            lengths,
            where=None,
            time_major=sequence.time_major,
            reverse=reverse,
        )
    else:
        outputs, final_state = loop.run_sequence(
            cell, sequence, state, lengths, scope, dtype, reverse=reverse
        )
    nest.check_same_structure(state, final_state, ("initial_state", "the cell's state"))
    return outputs, nest.pack_as(state, nest.flatten(final_state))


def run_on_gpu(
    cell: Any,
    where: Placement,
    sequence: checks.Sequence,
    lengths: Array | None,
    initial_state: Any,
    dtype: Any,
    *,
    reverse: bool,
) -> tuple[Any, Any]:
    """A native cell over inputs on the GPU or on the host."""
    state, inputs = initial_state, sequence.inputs
    if state is None:
        checks.check_dtype_agrees(stand_ins(inputs, where), dtype)
        if not cell._starts_at_zero:
            state = checks.default_state(cell, sequence.rows, dtype)
    if isinstance(inputs, np.ndarray):
        inputs = as_kernel_array(inputs, inputs.dtype.newbyteorder("="))
    outputs, final_state = cell._run_sequence(
        inputs, state, lengths, where=where, time_major=sequence.time_major, reverse=reverse
    )
    if state is None:
        return outputs, final_state
    nest.check_same_structure(state, final_state, ("initial_state", "the cell's state"))
    return outputs, nest.pack_as(state, nest.flatten(final_state))


def lengths_on_host(lengths: Any, where: Placement | None) -> Any:
    """Lengths on a GPU are copied from there, which waits for them."""
    if where is None:
        return lengths
    from lstmcore.gpu import integers_of

    return integers_of(lengths, "sequence_length")


def side_by_side(outputs: Any, axis: int) -> Any:
    """Outputs of both directions joined on their last axis, ``axis``."""
    if isinstance(outputs[0], np.ndarray):
        return np.concatenate(outputs, axis=axis)
    from lstmcore import gpu

    return gpu.side_by_side(outputs)


def plain_call(cell: Any, sequence: checks.Sequence, state: Any, dtype: Any) -> Any:
    """The packed weights, c and h (None for zeros), where nothing needs to be built or converted.

    None where it does, or where the cell does not know yet.
    """
    core = cell.plain_native()
    if core is None:
        return None
    if state is None:
        checks.check_dtype_agrees(sequence.inputs, dtype)
        return core, None, None
    return (core, *state) if type(state) is LSTMStateTuple else None


def runs_natively(cell: Any, where: Placement | None, inputs: Any) -> bool:
    """Whether one native call can run ``cell`` over ``inputs``.

    Other ranks go to the step by step loop, where the cell refuses them in its own words.

    Raises ValueError for integer inputs and TypeError for floats without a kernel, and both for
    arrays on a GPU that only a native call could take.
    """
    native = isinstance(cell, RNNCell) and cell._native_sequence
    if where is not None and _are_on_device(cell, where, native, inputs):
        return True
    if not (native and isinstance(inputs, np.ndarray) and inputs.ndim == 3):
        return False
    check_floating(inputs.dtype, "inputs")
    return True


def _are_on_device(cell: Any, where: Placement, native: bool, inputs: Any) -> bool:
    from lstmcore import gpu

    if not gpu.any_on_device(inputs):
        return False
    if not native:
        raise TypeError(
            f"inputs: expected NumPy arrays for {cell}, which is called step by step from Python, "
            f"got arrays on {where.device}"
        )
    if nest.is_nested(inputs) or len(gpu.shape_of(inputs)) != 3:
        raise ValueError("inputs: expected one array of 3 axes")
    return True
