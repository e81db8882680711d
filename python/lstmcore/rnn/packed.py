"""Ragged batches without padding: rows of different lengths, one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore import _core, nest
from lstmcore.arrays import Array, as_array
from lstmcore.rnn import checks
from lstmcore.streams.model import StreamModel, built_leaves


def packed_rnn(
    cell: Any,
    values: Any,
    offsets: Any,
    initial_state: Any = None,
    *,
    threads: int | None = None,
) -> tuple[Array, Any]:
    """Runs a cell over rows of different lengths; the work is that of their real time steps.

    Args:
        cell: a built native cell, or a MultiRNNCell of such, as ``Stream`` takes them; also with a
            ``device``. On a GPU rows are padded to the longest one and cost as many steps.
        values: [total, I] array of the cell's dtype; row n is
            ``values[offsets[n]:offsets[n + 1]]``.
        offsets: integers [N + 1], from 0 to ``total``, not decreasing; equal ones are empty rows.
        initial_state: arrays [N, size] in the structure of ``cell.state_size``; None for zeros.
        threads: the call uses at most so many; None: as many as the work is worth.

    Returns (outputs [total, P] in the places of their inputs, final state). Each row's numbers are
    bit for bit those of the row alone.

    Raises TypeError for a cell without native layers, and ValueError or TypeError naming the
    argument for offsets that begin elsewhere, decrease or do not end at ``total``, and for arrays
    of the wrong shape or dtype.
    """
    if threads is not None:
        _core.checked_threads(threads)
    if checks.is_on_gpu(cell):
        return _on_gpu(cell, values, offsets, initial_state)
    model = StreamModel(cell)
    values = np.ascontiguousarray(as_array(values, "values"))
    if values.ndim != 2 or values.shape[1] != model.input_size or values.dtype != model.dtype:
        raise ValueError(
            f"values: expected a {model.dtype} array of shape (any, {model.input_size}), got "
            f"{values.dtype} {values.shape}"
        )
    offsets = _checked_offsets(offsets)
    size = cell.state_size
    leaves: list[Array | None] = [None] * len(nest.flatten(size))
    if initial_state is not None:
        nest.check_same_structure(size, initial_state, ("cell.state_size", "initial_state"))
        leaves = [np.ascontiguousarray(as_array(a, "state")) for a in nest.flatten(initial_state)]
    if len(leaves) != 2 * len(model.layers):
        raise TypeError("cell: expected state_is_tuple=True")
    final: list[Array] = []
    for layer, c, h in zip(model.layers, leaves[::2], leaves[1::2], strict=True):
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


def _on_gpu(cell: Any, values: Any, offsets: Any, initial_state: Any) -> tuple[Any, Any]:
    from lstmcore import gpu
    from lstmcore.cells.on_gpu import run_there

    leaf = built_leaves(cell, None)[0]
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
    on_gpu = leaf._on_gpu().gpu

    def run(packed: Any) -> tuple[Any, Any]:
        stream = gpu.stream_of(packed)
        padded = on_gpu.pad(packed, positions, stream, "values")
        outputs, state = cell._run_sequence(padded, initial_state, np.diff(rows), time_major=False)
        return on_gpu.unpad(outputs, positions, stream), state

    return run_there(cell, values, run)
