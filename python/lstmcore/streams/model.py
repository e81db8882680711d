"""What the streams of one cell share: its packed weights, and the form of its state."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from lstmcore import dtypes, nest, shared_state
from lstmcore.arrays import Array, as_array, as_size
from lstmcore.cells.block_cells import LSTMBlockFusedCell
from lstmcore.cells.cell_wrapper import CellWrapper
from lstmcore.cells.lstm_base import LSTMCellBase
from lstmcore.cells.multi_rnn_cell import MultiRNNCell
from lstmcore.cells.rnn_cell import LSTMStateTuple, RNNCell
from lstmcore.models.lstm import LSTM
from lstmcore.unwinding import unwound


class StreamModel:
    """The layers of a cell, with the weights that it has now.

    ``layers`` are the packed weights of each layer, ``state_size`` is the cell's, ``widths`` are
    those of c and h of each layer, in that order; their sum is S. A state is held as one array
    [N, S].
    """

    def __init__(self, cell: Any, input_size: int | None = None) -> None:
        """Builds the cell where it is not built and ``input_size`` is given.

        Raises TypeError for what cannot be streamed, ValueError for a cell that is not built and
        for another ``input_size`` than it was built for.
        """
        self._weights: list[tuple[Array | None, ...]]
        self._settings: list[tuple[str, tuple[Any, ...]]]
        if isinstance(cell, LSTM):
            _refuse_device(cell)
            self._take_lstm(cell)
        else:
            leaves = built_leaves(cell, input_size)
            _refuse_device(cell)
            self._take_cells(leaves)
        if len({layer.dtype for layer in self.layers}) > 1:
            found = ", ".join(layer.dtype for layer in self.layers)
            raise TypeError(f"cell: its layers must have one dtype, they have {found}")
        self.input_size = self.layers[0].input_size
        self.output_size = self.layers[-1].output_size
        if input_size is not None and input_size != self.input_size:
            raise ValueError(
                f"input_size: {cell.name} was built for {self.input_size}, received {input_size}"
            )
        self.dtype = np.dtype(self.layers[0].dtype)
        self.widths = [w for layer in self.layers for w in (layer.num_units, layer.output_size)]
        self.state_size: Any = LSTMStateTuple(*self.widths[:2])
        if isinstance(cell, LSTM):
            pairs = zip(self.widths[::2], self.widths[1::2], strict=True)
            self.state_size = tuple(LSTMStateTuple(c, h) for c, h in pairs)
        elif not isinstance(cell, LSTMBlockFusedCell):
            self.state_size = cell.state_size
        self.name = cell.name

    def _take_cells(self, leaves: Sequence[LSTMCellBase]) -> None:
        with shared_state.lock:  # so that no assignment comes between the layers
            self.layers = tuple(leaf._native() for leaf in leaves)
            self._weights = [tuple(leaf._step_weights()) for leaf in leaves]
        self._settings = [(leaf._activation.name, tuple(leaf._step_settings())) for leaf in leaves]

    def _take_lstm(self, model: LSTM) -> None:
        natives = []
        for k, (forward, backward) in enumerate(model._on_cpu.layers):
            if forward is None or backward is not None:
                raise TypeError(
                    f"cell: layer {k} of {model.name} runs backwards, which needs the end of the "
                    "sequence: it cannot be streamed"
                )
            natives.append(forward)
        self.layers = tuple(natives)
        cells = [cell for layer in model.layers for _, cell in layer.cells]
        self._weights = [tuple(cell.weights.values()) for cell in cells]
        self._settings = [("LSTM", tuple(cell.spec.as_dict().items())) for cell in cells]

    @cached_property
    def digest(self) -> bytes:
        """A hash (SHA-256) of all that the outputs depend on: the weights and the options."""
        total = hashlib.sha256()
        for weights, settings in zip(self._weights, self._settings, strict=True):
            _add_layer(total, weights, settings)
        return total.digest()

    def state_of(self, values: Array) -> Any:
        """The cell's state from ``values`` [N, S]: new arrays."""
        sizes = nest.flatten(self.state_size)
        parts = np.split(values, np.cumsum(sizes)[:-1], axis=1)
        return nest.pack_as(self.state_size, [part.copy() for part in parts])

    def values_of(self, state: Any, rows: int) -> Array:
        """A new array [rows, S] from a state of the cell for as many rows.

        Raises TypeError for parts that are no arrays or have another dtype, ValueError for another
        structure or other shapes.
        """
        nest.check_same_structure(self.state_size, state, ("the cell's state_size", "state"))
        sizes = nest.flatten(self.state_size)
        leaves = [as_array(leaf, "state") for leaf in nest.flatten(state)]
        for index, (leaf, size) in enumerate(zip(leaves, sizes, strict=True)):
            expected = f"a {self.dtype.name} array of shape ({rows}, {size})"
            part = f"state: expected {expected} as part {index}, got"
            if leaf.dtype.newbyteorder("=") != self.dtype:
                raise TypeError(f"{part} dtype {leaf.dtype.name}")
            if leaf.shape != (rows, size):
                raise ValueError(f"{part} shape {leaf.shape}")
        return np.ascontiguousarray(np.concatenate(leaves, axis=1), self.dtype)


def model_of(cell: Any, input_size: int | None = None) -> StreamModel:
    """The model of ``cell``, or that of the stream or bank ``cell``. Raises as ``StreamModel``."""
    model = cell if isinstance(cell, StreamModel) else getattr(cell, "_model", None)
    return model if isinstance(model, StreamModel) else StreamModel(cell, input_size)


@unwound
def built_leaves(cell: Any, input_size: int | None) -> Sequence[LSTMCellBase]:
    """The cells that hold the weights, first to last, built."""
    reason = _why_not(cell)
    if reason:
        raise TypeError(f"cell: {reason}")
    if input_size is not None and not _is_built(cell):
        size = as_size(input_size, "input_size", minimum=0)
        dtype = next((leaf._dtype for leaf in _leaves(cell) if leaf._dtype), dtypes.SUPPORTED[0])
        shape = (1, 1, size) if isinstance(cell, LSTMBlockFusedCell) else (1, size)
        with cell._scoped_build(np.zeros(shape, dtype)):
            pass
    if not _is_built(cell):
        raise ValueError(
            f"cell: {cell.name} is not built: call it once, or pass input_size to build it"
        )
    if isinstance(cell, LSTMBlockFusedCell):
        return [cell._cell]
    return [leaf for leaf in _leaves(cell) if isinstance(leaf, LSTMCellBase)]


def _leaves(cell: Any) -> list[Any]:
    """``cell``, or for a stack the cells in it."""
    if isinstance(cell, MultiRNNCell):
        return [leaf for inner in cell._cells for leaf in _leaves(inner)]
    return [cell]


def _is_built(cell: Any) -> bool:
    return all(leaf._is_ready() for leaf in _leaves(cell))


def _why_not(cell: Any) -> str | None:
    """Why ``cell`` cannot be streamed, or None where it can."""
    if isinstance(cell, MultiRNNCell):
        inner = (_why_not(level) for level in cell._cells)
        reason = next((found for found in inner if found), None)
        return reason or (None if cell._native_sequence else _overrides(cell))
    if isinstance(cell, LSTMBlockFusedCell):
        return None if type(cell).call is LSTMBlockFusedCell.call else _overrides(cell)
    if isinstance(cell, LSTMCellBase):
        if cell._activation.fused is None:
            return (
                f"{cell.name} cannot be streamed: its activation {cell._activation.name} is not "
                "one of the fused ones"
            )
        return None if cell._native_sequence else _overrides(cell)
    if isinstance(cell, CellWrapper):
        return (
            f"{type(cell).__name__} cannot be streamed: stream the cell in it, its attribute cell"
        )
    expected = "one of this package's LSTM cells, a MultiRNNCell of them, or an LSTM"
    if isinstance(cell, RNNCell):
        return f"{cell.name} ({type(cell).__name__}) cannot be streamed: expected {expected}"
    return f"expected {expected}, received {type(cell).__name__}"


def _refuse_device(cell: Any) -> None:
    """A stream keeps its state in host memory, and its steps are calls of the CPU kernels."""
    device = getattr(cell, "device", "cpu")
    if device != "cpu":
        raise TypeError(f"cell: {cell.name} is on {device}; a stream needs a cell on the CPU")


def _overrides(cell: Any) -> str:
    return f"{cell.name} cannot be streamed: {type(cell).__name__} computes its step in Python"


def _add_layer(
    total: Any, weights: tuple[Array | None, ...], settings: tuple[str, tuple[Any, ...]]
) -> None:
    arrays = [None if array is None else np.ascontiguousarray(array) for array in weights]
    forms = [None if array is None else (array.dtype.str, array.shape) for array in arrays]
    total.update(repr((*settings, forms)).encode())
    for array in arrays:
        if array is not None:
            total.update(array)
