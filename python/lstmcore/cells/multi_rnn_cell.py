"""Cells stacked on each other (TF API: ``tf.compat.v1.nn.rnn_cell.MultiRNNCell``)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from lstmcore import nest, shared_state
from lstmcore.arrays import Array, as_array, as_flag
from lstmcore.cells.rnn_cell import RNNCell
from lstmcore.errors import InvalidArgumentError
from lstmcore.layers.layer import Layer
from lstmcore.layers.scoped_build import ScopedBuild
from lstmcore.placement import Placement, name_of, own_placement, stand_ins
from lstmcore.rnn.checks import check_rnn_cell
from lstmcore.variables.variable import Variable
from lstmcore.variables.variable_scope import VariableScope, variable_scope

_logger = logging.getLogger("lstmcore")


class MultiRNNCell(RNNCell):
    """Feeds each cell's output to the next; the last one's is the output.

    Args:
        cells: list or tuple of cells, first to last. One object may stand at several levels and
            shares its weights between them then.
        state_is_tuple: the state is a tuple of the cells' states; if False, one array
            [N, sum of sizes] of cells whose states are arrays.

    The variables of cell k are in scope "multi_rnn_cell/cell_{k}". Cells with a ``device`` make a
    stack on that device: what goes from cell to cell stays there.

    Raises ValueError for no cells, cells with tuples of states without ``state_is_tuple``, or cells
    on more than one device;
    TypeError for what is no list or tuple of cells.
    """

    def __init__(self, cells: Any, state_is_tuple: bool = True) -> None:
        if cells is None or (nest.is_nested(cells) and not cells):
            raise ValueError("Must specify at least one cell for MultiRNNCell.")
        if not isinstance(cells, (list, tuple)):
            raise TypeError(f"cells must be a list or tuple, but received: {cells}.")
        for index, cell in enumerate(cells):
            check_rnn_cell(f"cells[{index}]", cell)
        if not state_is_tuple and any(nest.is_nested(cell.state_size) for cell in cells):
            raise ValueError(
                "Some cells return tuples of states, but the flag state_is_tuple is not set. "
                f"State sizes are: {[cell.state_size for cell in cells]}"
            )
        found = {name_of(own_placement(cell)) for cell in cells}
        if len(found) > 1:
            raise ValueError(f"cells: expected one device, got {', '.join(sorted(found))}")
        super().__init__()
        if len({id(cell) for cell in cells}) < len(cells):
            _logger.warning(
                "At least two cells provided to MultiRNNCell are the same object and will share "
                "weights."
            )
        self._cells = list(cells)
        self._state_is_tuple = as_flag(state_is_tuple, "state_is_tuple")

    @property
    def _placement(self) -> Placement | None:
        return own_placement(self._cells[0])

    @property
    def device(self) -> str:
        """That of the cells: "cpu", or a GPU such as "cuda:0"."""
        return name_of(self._placement)

    @property
    def _starts_at_zero(self) -> bool:
        cls = type(self)
        return (
            cls.zero_state is MultiRNNCell.zero_state
            and cls.get_initial_state is RNNCell.get_initial_state
            and self._state_is_tuple
            and all(isinstance(cell, RNNCell) and cell._starts_at_zero for cell in self._cells)
        )

    @property
    def state_size(self) -> Any:
        """Tuple of the cells' state sizes, or their sum without ``state_is_tuple``."""
        sizes = [cell.state_size for cell in self._cells]
        return tuple(sizes) if self._state_is_tuple else sum(sizes)

    @property
    def output_size(self) -> Any:
        return self._cells[-1].output_size

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """The cells' zero states, in a tuple or side by side in one array."""
        if self._state_is_tuple:
            return tuple(cell.zero_state(batch_size, dtype) for cell in self._cells)
        return super().zero_state(batch_size, dtype)

    @property
    def trainable_weights(self) -> list[Variable]:
        """Those of the cells, one after the other; a cell that stands twice is listed twice."""
        if not self.trainable:
            return []
        return [weight for cell in self._layers() for weight in cell.trainable_weights]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        fixed = [weight for cell in self._layers() for weight in cell.non_trainable_weights]
        if self.trainable:
            return fixed
        return [weight for cell in self._layers() for weight in cell.trainable_weights] + fixed

    def build(self, inputs_shape: Any) -> None:
        """Does nothing: the cells are built by the first call, which knows the dtype."""

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        if self.built and self._native_sequence:
            # all variables exist, so that no scope need be entered
            self._note_open()
            return self._step(inputs, state, scoped=False)
        if self.built:
            return super().__call__(inputs, state, scope)
        self._check_before_build(inputs, state)
        with shared_state.lock:
            result = super().__call__(inputs, state, scope)
            if not self.built:  # cells of other classes made their variables in this call
                super()._build_once(inputs)
        return result

    def _scoped_build(self, inputs: Any, scope: str | VariableScope | None = None) -> ScopedBuild:
        return super()._scoped_build(stand_ins(inputs, self._placement), scope)

    def _check_before_build(self, inputs: Any, state: Any) -> None:
        if self.built or not self._native_sequence:
            return
        inputs, state = stand_ins((inputs, state), self._placement)
        for _, cell, cell_state in self._levels(state, scoped=False):
            cell._check_before_build(inputs, cell_state)
            inputs = _zeros_for(inputs, cell.output_size)

    def _build_once(self, inputs: Any) -> None:
        """Builds the cells first, so that ``built`` says that all variables exist.

        Cells of other classes may make theirs when called; then the first call sets ``built``.
        """
        if self.built or not self._native_sequence:
            return
        step = inputs
        for index, cell in enumerate(self._cells):
            with variable_scope(f"cell_{index}"), cell._scoped_build(step):
                step = _zeros_for(step, cell.output_size)
        super()._build_once(inputs)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """One time step of all cells: (output of the last, new state).

        Raises ValueError for a state that is no structure, IndexError for too short a tuple,
        InvalidArgumentError for too narrow an array.
        """
        return self._step(inputs, state, scoped=True)

    def _step(self, inputs: Any, state: Any, *, scoped: bool) -> tuple[Any, Any]:
        where = self._placement
        if where is not None:
            from lstmcore.cells.on_gpu import run_there

            return run_there(self, where, inputs, lambda x: self._run_step(x, state, scoped=scoped))
        return self._run_step(inputs, state, scoped=scoped)

    def _run_step(self, inputs: Any, state: Any, *, scoped: bool) -> tuple[Any, Any]:
        new_states = []
        for level, cell, cell_state in self._levels(state, scoped=scoped, where=self._placement):
            with level:
                inputs, new_state = cell(inputs, cell_state)
            new_states.append(new_state)
        return inputs, self._joined(new_states)

    @property
    def _native_sequence(self) -> bool:
        cls = type(self)
        if cls.call is not MultiRNNCell.call or cls.__call__ is not MultiRNNCell.__call__:
            return False
        return all(isinstance(cell, RNNCell) and cell._native_sequence for cell in self._cells)

    def _run_sequence(
        self,
        inputs: Array,
        state: Any,
        lengths: Array | None,
        *,
        where: Placement | None,
        time_major: bool,
        reverse: bool = False,
    ) -> tuple[Any, Any]:
        like = stand_ins(inputs, where)
        rows, width = like.shape[1 if time_major else 0], like.shape[2]
        step = np.broadcast_to(np.zeros((), like.dtype), (rows, width))
        if state is not None:
            self._check_before_build(step, stand_ins(state, where))

        def run(inputs: Any) -> tuple[Any, Any]:
            new_states = []
            for level, cell, cell_state in self._levels(state, scoped=True, where=where):
                with level:
                    inputs, new_state = cell._run_sequence(
                        inputs,
                        cell_state,
                        lengths,
                        where=where,
                        time_major=time_major,
                        reverse=reverse,
                    )
                new_states.append(new_state)
            return inputs, self._joined(new_states)

        with self._scoped_build(step):
            if where is None:
                return run(inputs)
            from lstmcore.cells.on_gpu import run_there

            return run_there(self, where, inputs, run)

    def _levels(
        self, state: Any, *, scoped: bool, where: Placement | None = None
    ) -> Iterator[tuple[Any, Any, Any]]:
        """Each cell with its scope, to be entered (which does nothing unless ``scoped``), and its
        part of the state, which may be on the GPU.
        """
        position = 0
        for index, cell in enumerate(self._cells):
            if state is None:
                part = None
            elif self._state_is_tuple:
                if not nest.is_nested(state):
                    raise ValueError(
                        f"Expected state to be a tuple of length {len(self._cells)}, "
                        f"but received: {state}"
                    )
                part = state[index]
            else:
                part = _columns(state, position, cell.state_size, where)
                position += cell.state_size
            level = variable_scope(f"cell_{index}") if scoped else contextlib.nullcontext()
            yield level, cell, part

    def _joined(self, states: list[Any]) -> Any:
        if self._state_is_tuple:
            return tuple(states)
        if isinstance(states[0], np.ndarray):
            return np.concatenate(states, axis=1)
        from lstmcore import gpu

        return gpu.side_by_side(states)

    def __repr__(self) -> str:
        cells = ", ".join(repr(cell) for cell in self._cells)
        return f"<MultiRNNCell '{self.name}' of [{cells}]>"

    def _layers(self) -> list[Layer]:
        return [cell for cell in self._cells if isinstance(cell, Layer)]


def _zeros_for(inputs: Any, width: int) -> Array:
    """Zeros [N, width] like inputs [N, ...], which take no memory."""
    array = as_array(inputs, "inputs")
    return np.broadcast_to(np.zeros((), array.dtype), (*array.shape[:1], width))


def _columns(state: Any, start: int, size: int, where: Placement | None) -> Any:
    array = as_array(stand_ins(state, where), "state")
    if array.ndim != 2:
        raise InvalidArgumentError(
            f"Expected begin and size arguments to be 1-D tensors of size {array.ndim}, but got "
            f"shapes [2] and [2] instead. (state must be [batch, size], it has shape {array.shape})"
        )
    if array.shape[1] - start < size:
        raise InvalidArgumentError(
            f"Expected size[1] in [0, {array.shape[1] - start}], but got {size} "
            f"(state has {array.shape[1]} columns)"
        )
    if where is not None:
        from lstmcore import gpu

        if gpu.is_on_device(state):
            return gpu.columns(state, start, size, gpu.stream_of(state), "state")
    return array[:, start : start + size]
