"""Unrolling a cell over a sequence held in one array.

TF API: ``tf.compat.v1.nn.dynamic_rnn``, ``bidirectional_dynamic_rnn``,
``tf.contrib.rnn.stack_bidirectional_dynamic_rnn``. For this package's cells the time loop is one
native call per layer and direction; any other cell is called step by step.

Shapes: N batch, T time, I input depth.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore import _core, nest, thread_limits
from lstmcore.arrays import Array, as_kernel_array, check_floating
from lstmcore.cells.rnn_cell import LSTMStateTuple, RNNCell
from lstmcore.errors import is_refusal
from lstmcore.rnn import checks, loop
from lstmcore.unwinding import unwound
from lstmcore.variables.variable_scope import VariableScope, variable_scope


@unwound
def dynamic_rnn(
    cell: Any,
    inputs: Any,
    sequence_length: Any = None,
    initial_state: Any = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: str | VariableScope | None = None,
    *,
    threads: int | None = None,
) -> tuple[Any, Any]:
    """Runs ``cell`` over all time steps.

    Args:
        cell: an RNNCell, or anything with its attributes.
        inputs: [N, T, I], or [T, N, I] if ``time_major``; copied only where not C-contiguous. A
            cell with a ``device`` takes arrays on that GPU, and gives its results there. A cell of
            your own may take nested structures of arrays [N, T, ...].
        sequence_length: N integers. Past its length a row's outputs are 0 and its state stays, NaN
            in the padding notwithstanding. Lengths outside 0..T act as 0 and T.
        initial_state: state to start from; for this package's cells converted to the dtype of
            ``inputs``. None: the cell's own, in ``dtype``.
        dtype: needed where ``initial_state`` is None; must be the dtype of ``inputs`` then.
        parallel_iterations, swap_memory: checked and without effect, as results never depended on
            them.
        scope: name or ``VariableScope`` for the variables; "rnn" if None.
        threads: the call uses at most so many; None: as many as the work is worth.

    Returns (outputs [N, T, output_size] or [T, N, output_size], final state in the containers of
    ``initial_state``).

    Raises TypeError for what is no cell, ValueError for wrong ranks or a missing ``dtype``,
    InvalidArgumentError (a ValueError) for sizes or dtypes that do not match.
    """
    checks.check_rnn_cell("cell", cell)
    on_gpu = checks.is_on_gpu(cell)
    sequence = checks.checked_sequence(inputs, time_major, on_gpu=on_gpu)
    lengths = checks.checked_lengths(
        on_host(sequence_length, on_gpu), sequence.rows, sequence.steps
    )
    checks.check_state_source(initial_state, dtype)
    checks.check_parallel_iterations(parallel_iterations)
    with thread_limits.at_most(threads), variable_scope(scope or "rnn") as entered:
        return _unroll(cell, sequence, lengths, initial_state, dtype, entered)


@unwound
def bidirectional_dynamic_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Any,
    sequence_length: Any = None,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: str | VariableScope | None = None,
    *,
    threads: int | None = None,
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Runs ``cell_fw`` forwards and ``cell_bw`` backwards, each row within its own length.

    The variables are in scopes "bidirectional_rnn/fw" and "bidirectional_rnn/bw", with ``scope`` in
    place of the first part. Other arguments as for ``dynamic_rnn``, but lengths must be integers
    within 0..T.

    Returns ((outputs of cell_fw, outputs of cell_bw), (their final states)). Both outputs stand at
    the time steps of their inputs, and are not concatenated.

    Raises as ``dynamic_rnn``, and InvalidArgumentError for lengths out of range.
    """
    checks.check_rnn_cell("cell_fw", cell_fw)
    checks.check_rnn_cell("cell_bw", cell_bw)
    checks.check_one_device(cell_fw, cell_bw)
    on_gpu = checks.is_on_gpu(cell_fw)
    sequence = checks.checked_sequence(inputs, time_major, on_gpu=on_gpu)
    lengths = checks.checked_lengths(
        on_host(sequence_length, on_gpu),
        sequence.rows,
        sequence.steps,
        bounded_axis=sequence.time_axis,
    )
    checks.check_state_source(initial_state_fw, dtype)
    checks.check_state_source(initial_state_bw, dtype)
    checks.check_parallel_iterations(parallel_iterations)
    with thread_limits.at_most(threads), variable_scope(scope or "bidirectional_rnn"):
        states = (initial_state_fw, initial_state_bw)
        both: tuple[Any, Any] | None = _both_directions(
            cell_fw, cell_bw, sequence, lengths, states, dtype
        )
        if both is not None:
            return both
        with variable_scope("fw") as entered:
            forward, state_fw = _unroll(
                cell_fw, sequence, lengths, initial_state_fw, dtype, entered
            )
        with variable_scope("bw") as entered:
            backward, state_bw = _unroll(
                cell_bw, sequence, lengths, initial_state_bw, dtype, entered, reverse=True
            )
    return (forward, backward), (state_fw, state_bw)


@unwound
def stack_bidirectional_dynamic_rnn(
    cells_fw: list[Any],
    cells_bw: list[Any],
    inputs: Any,
    initial_states_fw: list[Any] | None = None,
    initial_states_bw: list[Any] | None = None,
    dtype: Any = None,
    sequence_length: Any = None,
    parallel_iterations: int | None = None,
    time_major: bool = False,
    scope: str | VariableScope | None = None,
    swap_memory: bool = False,
    *,
    threads: int | None = None,
) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
    """Layers of ``bidirectional_dynamic_rnn``; each reads both directions of the layer below.

    Args:
        cells_fw, cells_bw: lists of equal length, one cell per layer.
        initial_states_fw, initial_states_bw: lists of one state per layer, or None for zeros.

    The variables of layer k are in "stack_bidirectional_rnn/cell_{k}/bidirectional_rnn/fw" and
    ".../bw". Other arguments as for ``bidirectional_dynamic_rnn``.

    Returns (outputs of the last layer, forward and backward side by side on the last axis; tuple of
    forward states; tuple of backward states).

    Raises ValueError for lists that are empty, no lists, or of unequal length.
    """
    check_stack(cells_fw, cells_bw, initial_states_fw, initial_states_bw)
    layers = len(cells_fw)
    states_fw, states_bw = [], []
    with thread_limits.at_most(threads), variable_scope(scope or "stack_bidirectional_rnn"):
        for layer, (cell_fw, cell_bw, state_fw, state_bw) in enumerate(
            zip(
                cells_fw,
                cells_bw,
                initial_states_fw or [None] * layers,
                initial_states_bw or [None] * layers,
                strict=True,
            )
        ):
            with variable_scope(f"cell_{layer}"):
                outputs, (state_fw, state_bw) = bidirectional_dynamic_rnn(
                    cell_fw,
                    cell_bw,
                    inputs,
                    sequence_length=sequence_length,
                    initial_state_fw=state_fw,
                    initial_state_bw=state_bw,
                    dtype=dtype,
                    parallel_iterations=parallel_iterations,
                    swap_memory=swap_memory,
                    time_major=time_major,
                )
            inputs = side_by_side(outputs, axis=2)
            states_fw.append(state_fw)
            states_bw.append(state_bw)
    return inputs, tuple(states_fw), tuple(states_bw)


def check_stack(
    cells_fw: Any, cells_bw: Any, initial_states_fw: Any, initial_states_bw: Any
) -> None:
    """Raises ValueError, in TensorFlow's words, unless there is one cell (and state) per layer."""
    for cells, direction in ((cells_fw, "fw"), (cells_bw, "bw")):
        if not cells:
            raise ValueError(f"Must specify at least one {direction} cell for BidirectionalRNN.")
    for cells, direction in ((cells_fw, "fw"), (cells_bw, "bw")):
        if not isinstance(cells, list):
            raise ValueError(f"cells_{direction} must be a list of RNNCells (one per layer).")
    if len(cells_fw) != len(cells_bw):
        raise ValueError("Forward and Backward cells must have the same depth.")
    for states, direction in ((initial_states_fw, "fw"), (initial_states_bw, "bw")):
        if states is not None and (not isinstance(states, list) or len(states) != len(cells_fw)):
            raise ValueError(
                f"initial_states_{direction} must be a list of state tensors (one per layer)."
            )


def _unroll(
    cell: Any,
    sequence: checks.Sequence,
    lengths: Array | None,
    initial_state: Any,
    dtype: Any,
    scope: VariableScope,
    *,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """One direction, inside its scope."""
    native = runs_natively(cell, sequence.inputs)
    if native and checks.is_on_gpu(cell):
        return run_on_gpu(
            cell, sequence.inputs, lengths, initial_state, dtype, sequence, reverse=reverse
        )
    plain = _plain_call(cell, sequence, initial_state, dtype) if native else None
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
    inputs: Any,
    lengths: Array | None,
    initial_state: Any,
    dtype: Any,
    sequence: checks.Sequence,
    *,
    reverse: bool,
) -> tuple[Any, Any]:
    """One direction of a cell with a device, over [N, T, I] or [T, N, I] there or on the host."""
    from lstmcore.gpu import stand_in

    state = initial_state
    if state is None:
        checks.check_dtype_agrees(stand_in(inputs), dtype)
        if not cell._starts_at_zero:
            state = checks.default_state(cell, sequence.rows, dtype)
    if isinstance(inputs, np.ndarray):
        inputs = as_kernel_array(inputs, inputs.dtype.newbyteorder("="))
    outputs, final_state = cell._run_sequence(
        inputs, state, lengths, time_major=sequence.time_major, reverse=reverse
    )
    if state is None:
        return outputs, final_state
    nest.check_same_structure(state, final_state, ("initial_state", "the cell's state"))
    return outputs, nest.pack_as(state, nest.flatten(final_state))


def on_host(lengths: Any, on_gpu: bool) -> Any:
    """Lengths on a GPU are copied from there, which waits for them."""
    if not on_gpu:
        return lengths
    from lstmcore.gpu import integers_of

    return integers_of(lengths, "sequence_length")


def side_by_side(outputs: Any, axis: int) -> Any:
    """Outputs of both directions joined on their last axis, ``axis``."""
    if isinstance(outputs[0], np.ndarray):
        return np.concatenate(outputs, axis=axis)
    from lstmcore import gpu

    return gpu.side_by_side(outputs)


def _both_directions(
    cell_fw: Any,
    cell_bw: Any,
    sequence: checks.Sequence,
    lengths: Array | None,
    states: tuple[Any, Any],
    dtype: Any,
) -> Any:
    """Both directions in one native call, which gives each a thread; None where one by one."""
    if checks.is_on_gpu(cell_fw):
        return None
    if not (runs_natively(cell_fw, sequence.inputs) and runs_natively(cell_bw, sequence.inputs)):
        return None
    calls = [
        _plain_call(cell, sequence, state, dtype)
        for cell, state in zip((cell_fw, cell_bw), states, strict=True)
    ]
    if None in calls:
        return None
    forwards, backwards = calls
    try:
        results = _core.forward_bidirectional(
            forwards, backwards, sequence.inputs, lengths=lengths, time_major=sequence.time_major
        )
    except (TypeError, ValueError) as error:
        if not is_refusal(error):
            raise
        return None  # as for one direction
    for cell, name in ((cell_fw, "fw"), (cell_bw, "bw")):
        with variable_scope(name):
            cell._note_open()
    outputs, final_states = zip(*((y, LSTMStateTuple(c, h)) for y, c, h in results), strict=True)
    return outputs, final_states


def _plain_call(cell: Any, sequence: checks.Sequence, state: Any, dtype: Any) -> Any:
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


def runs_natively(cell: Any, inputs: Any) -> bool:
    """Whether one native call can run ``cell`` over ``inputs``.

    Other ranks go to the step by step loop, where the cell refuses them in its own words.

    Raises ValueError for integer inputs and TypeError for floats without a kernel.
    """
    if not (isinstance(cell, RNNCell) and cell._native_sequence):
        return False
    if not isinstance(inputs, np.ndarray) and checks.is_on_gpu(cell):
        return inputs.ndim == 3 if hasattr(inputs, "ndim") else len(inputs.shape) == 3
    if not (isinstance(inputs, np.ndarray) and inputs.ndim == 3):
        return False
    check_floating(inputs.dtype, "inputs")
    return True
