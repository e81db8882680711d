"""Unrolling a cell over a sequence held in one array.

TF API: ``tf.compat.v1.nn.dynamic_rnn``, ``bidirectional_dynamic_rnn``,
``tf.contrib.rnn.stack_bidirectional_dynamic_rnn``. For this package's cells the time loop is one
native call per layer and direction; any other cell is called step by step.

Shapes: N batch, T time, I input depth.
"""

from __future__ import annotations

from typing import Any

from lstmcore import _core, thread_limits
from lstmcore.arrays import Array
from lstmcore.cells.rnn_cell import LSTMStateTuple
from lstmcore.errors import is_refusal
from lstmcore.placement import Placement, call_placement
from lstmcore.rnn import checks
from lstmcore.rnn.unrolling import (
    lengths_on_host,
    plain_call,
    runs_natively,
    side_by_side,
    unroll,
)
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
    device: str | None = None,
    device_dtype: str | None = None,
    math: str = "ieee",
) -> tuple[Any, Any]:
    """Runs ``cell`` over all time steps.

    Args:
        cell: an RNNCell, or anything with its attributes.
        inputs: [N, T, I], or [T, N, I] if ``time_major``; copied only where not C-contiguous. On a
            GPU also arrays there, whose results are there too. A cell of your own may take nested
            structures of arrays [N, T, ...].
        sequence_length: N integers. Past its length a row's outputs are 0 and its state stays, NaN
            in the padding notwithstanding. Lengths outside 0..T act as 0 and T.
        initial_state: state to start from; for this package's cells converted to the dtype of
            ``inputs``. None: the cell's own, in ``dtype``.
        dtype: needed where ``initial_state`` is None; must be the dtype of ``inputs`` then.
        parallel_iterations, swap_memory: checked and without effect, as results never depended on
            them.
        scope: name or ``VariableScope`` for the variables; "rnn" if None.
        threads: the call uses at most so many; None: as many as the work is worth.
        device: "cpu", "cuda", "cuda:N" or "auto": where to run this call, whatever the cell's own
            device is; None: there. The cell's weights are uploaded once for each device.
        device_dtype, math: as of a cell, with a ``device``. ``dtype`` remains that of the cell's
            variables: float32 also for arrays on a GPU of 16 bits.

    Returns (outputs [N, T, output_size] or [T, N, output_size], final state in the containers of
    ``initial_state``).

    Raises TypeError for what is no cell, and for another ``device`` than the cell's own where its
    time loop is not native; RuntimeError with the reason where the GPU cannot be used; ValueError
    for wrong ranks or a missing ``dtype``, InvalidArgumentError (a ValueError) for sizes or dtypes
    that do not match.
    """
    checks.check_rnn_cell("cell", cell)
    where = call_placement(cell, device, device_dtype, math)
    sequence = checks.checked_sequence(inputs, time_major, on_gpu=where is not None)
    lengths = checks.checked_lengths(
        lengths_on_host(sequence_length, where), sequence.rows, sequence.steps
    )
    checks.check_state_source(initial_state, dtype)
    checks.check_parallel_iterations(parallel_iterations)
    with thread_limits.at_most(threads), variable_scope(scope or "rnn") as entered:
        return unroll(cell, where, sequence, lengths, initial_state, dtype, entered)


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
    device: str | None = None,
    device_dtype: str | None = None,
    math: str = "ieee",
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
    placements = checks.one_device(cell_fw, cell_bw, device, device_dtype, math)
    where = placements[0]
    sequence = checks.checked_sequence(inputs, time_major, on_gpu=where is not None)
    lengths = checks.checked_lengths(
        lengths_on_host(sequence_length, where),
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
            cell_fw, cell_bw, where, sequence, lengths, states, dtype
        )
        if both is not None:
            return both
        with variable_scope("fw") as entered:
            forward, state_fw = unroll(
                cell_fw, where, sequence, lengths, initial_state_fw, dtype, entered
            )
        with variable_scope("bw") as entered:
            backward, state_bw = unroll(
                cell_bw,
                placements[1],
                sequence,
                lengths,
                initial_state_bw,
                dtype,
                entered,
                reverse=True,
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
    device: str | None = None,
    device_dtype: str | None = None,
    math: str = "ieee",
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
                    device=device,
                    device_dtype=device_dtype,
                    math=math,
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


def _both_directions(
    cell_fw: Any,
    cell_bw: Any,
    where: Placement | None,
    sequence: checks.Sequence,
    lengths: Array | None,
    states: tuple[Any, Any],
    dtype: Any,
) -> Any:
    """Both directions in one native call, which gives each a thread; None where one by one."""
    if where is not None:
        return None
    if not all(runs_natively(cell, None, sequence.inputs) for cell in (cell_fw, cell_bw)):
        return None
    calls = [
        plain_call(cell, sequence, state, dtype)
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
