"""Ragged batches without padding: rows of different lengths, one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore import _core, nest, shared_state
from lstmcore.arrays import Array, as_array
from lstmcore.cells.block_cells import LSTMBlockFusedCell
from lstmcore.cells.lstm_base import LSTMCellBase
from lstmcore.models.lstm import LSTM
from lstmcore.placement import Placement, call_placement
from lstmcore.streams.model import built_leaves
from lstmcore.unwinding import unwound


def packed_rnn(
    cell: Any,
    values: Any,
    offsets: Any,
    initial_state: Any = None,
    *,
    threads: int | None = None,
    device: str | None = None,
    device_dtype: str | None = None,
    math: str = "ieee",
) -> tuple[Array, Any]:
    """Runs a cell over rows of different lengths; the work is that of their real time steps.

    Args:
        cell: a built native cell, a MultiRNNCell of such, or an ``LSTMBlockFusedCell``.
        values: [total, I] array of the cell's dtype; row n is
            ``values[offsets[n]:offsets[n + 1]]``.
        offsets: integers [N + 1], from 0 to ``total``, not decreasing; equal ones are empty rows.
        initial_state: arrays [N, size] in the structure of ``cell.state_size``; None for zeros.
        threads: the call uses at most so many; None: as many as the work is worth.
        device, device_dtype, math: as for ``dynamic_rnn``. On a GPU rows are padded to the longest
            one and cost as many steps.

    Returns (outputs [total, P] in the places of their inputs, final state). On the CPU each row's
    numbers are bit for bit those of the row alone.

    Raises TypeError for a cell without native layers, and ValueError or TypeError naming the
    argument for offsets that begin elsewhere, decrease or do not end at ``total``, and for arrays
    of the wrong shape or dtype.
    """
    if threads is not None:
        _core.checked_threads(threads)
    if isinstance(cell, LSTM):
        raise TypeError("cell: an LSTM takes packed rows by itself: model(values, offsets=offsets)")
    cells = built_leaves(cell, None)
    if not all(each._state_is_tuple for each in cells):
        raise TypeError("cell: expected state_is_tuple=True")
    if isinstance(cell, LSTMBlockFusedCell):
        cell = cells[0]
    where = call_placement(cell, device, device_dtype, math)
    if where is not None:
        return _on_gpu(cell, cells[0], where, values, offsets, initial_state)
    with shared_state.lock:  # so that no assignment comes between the layers
        layers = [each._native() for each in cells]
    values = np.ascontiguousarray(as_array(values, "values"))
    depth, dtype = layers[0].input_size, layers[0].dtype
    if values.ndim != 2 or values.shape[1] != depth or values.dtype != dtype:
        raise ValueError(
            f"values: expected a {dtype} array of shape (any, {depth}), got {values.dtype} "
            f"{values.shape}"
        )
    offsets = _checked_offsets(offsets)
    size = cell.state_size
    leaves: list[Array | None] = [None] * len(nest.flatten(size))
    if initial_state is not None:
        nest.check_same_structure(size, initial_state, ("cell.state_size", "initial_state"))
        leaves = [np.ascontiguousarray(as_array(a, "state")) for a in nest.flatten(initial_state)]
    final: list[Array] = []
    for layer, c, h in zip(layers, leaves[::2], leaves[1::2], strict=True):
        values, *state = layer.forward(values, c, h, offsets=offsets, threads=threads)
        final += state
    return values, nest.pack_as(size, final)


def _checked_offsets(offsets: Any) -> Array:
    offsets = as_array(offsets, "offsets")
    if offsets.ndim != 1 or offsets.dtype.kind not in "iu":
        raise ValueError(
            f"offsets: expected integers of shape (rows + 1,), got {offsets.dtype} {offsets.shape}"
        )
    return np.ascontiguousarray(offsets, np.int64)


@unwound
def _on_gpu(
    cell: Any,
    leaf: LSTMCellBase,
    where: Placement,
    values: Any,
    offsets: Any,
    initial_state: Any,
) -> tuple[Any, Any]:
    from lstmcore import gpu
    from lstmcore.cells.on_gpu import run_there

    size = leaf._kernel.shape[0] - leaf.output_size
    there = gpu.is_on_device(values)
    values = values if there else np.ascontiguousarray(as_array(values, "values"))
    shape = gpu.shape_of(values)
    if len(shape) != 2 or shape[1] != size or not (there or values.dtype == leaf._kernel.dtype):
        kind = "" if there else f" {values.dtype}"
        raise ValueError(f"values: expected an array of shape (any, {size}), got{kind} {shape}")
    rows = _checked_offsets(gpu.integers_of(offsets, "offsets"))
    positions = rows.tolist()
    if initial_state is not None:
        nest.check_same_structure(
            cell.state_size, initial_state, ("cell.state_size", "initial_state")
        )
    on_gpu = leaf._on_gpu(where).gpu

    def run(packed: Any) -> tuple[Any, Any]:
        stream = gpu.stream_of(packed)
        padded = on_gpu.pad(packed, positions, stream, "values")
        outputs, state = cell._run_sequence(
            padded, initial_state, np.diff(rows), where=where, time_major=False
        )
        return on_gpu.unpad(outputs, positions, stream), state

    return run_there(cell, where, values, run)
