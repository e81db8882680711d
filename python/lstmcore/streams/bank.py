"""``StreamBank``: many streams of one cell, stepped together."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from lstmcore import _core, thread_limits
from lstmcore.arrays import Array, as_size
from lstmcore.streams.model import model_of
from lstmcore.unwinding import unwound


class StreamBank:
    """Streams of one cell that join, leave, and advance in one batch, all or some of them.

    Each stream's outputs are bit for bit those that it would get alone.

    Args:
        cell, input_size: as for ``Stream``.
        capacity: number of streams to have memory for from the start; more may join.

    Two threads cannot use one bank at once: the second gets RuntimeError.
    """

    def __init__(
        self, cell: Any, capacity: int | None = None, *, input_size: int | None = None
    ) -> None:
        streams = 0 if capacity is None else as_size(capacity, "capacity", minimum=0)
        self._model = model_of(cell, input_size)
        self._bank = _core.StreamBank(self._model.layers, streams)

    def __len__(self) -> int:
        return len(self._bank.ids())

    @property
    def ids(self) -> list[int]:
        """The ids of the streams, in the order in which they joined."""
        return self._bank.ids()

    @property
    def input_size(self) -> int:
        return self._model.input_size

    @property
    def output_size(self) -> int:
        return self._model.output_size

    @property
    def dtype(self) -> str:
        """The name of the dtype of inputs, outputs and states."""
        return self._model.dtype.name

    def join(self, state: Any = None) -> int:
        """Adds a stream and returns its id, which no other stream of this bank ever gets.

        It starts from ``state``, a state of the cell for one row such as ``Stream.state``, or from
        zeros. Raises as ``Stream`` for a state of other sizes.
        """
        return self._bank.join(None if state is None else self._values(state))

    def leave(self, id: int) -> None:
        """Removes a stream. Raises ValueError where there is none of this id, as all calls do."""
        self._bank.leave(_as_id(id))

    def step(self, x: Array, ids: Any = None, *, threads: int | None = None) -> Array:
        """One time step of the streams ``ids``, in that order; None: all, in the order of joining.

        x [n, I] has one row for each of the n streams. Returns a new array [n, P]. The call uses at
        most ``threads`` threads; None: as many as the work is worth.

        Raises, and no state has changed then, ValueError for ids that are not in the bank or come
        twice and for another shape of x, TypeError for ids that are no integers and for another
        dtype of x.
        """
        rows = None if ids is None else _as_ids(ids)
        if threads is None:
            return self._bank.step(x, rows)
        return self._step_with(threads, x, rows)

    @unwound
    def _step_with(self, threads: int, x: Array, rows: Any) -> Array:
        with thread_limits.at_most(threads):
            return self._bank.step(x, rows)

    def step_into(self, x: Array, out: Array, ids: Any = None) -> None:
        """``step`` into the array out [n, P]; allocates nothing if ids is an int64 array or None.

        Both arrays are C-contiguous, and may not overlap. Raises as ``step``, and ValueError for
        another layout, an out that is read-only, and arrays that overlap.
        """
        self._bank.step_into(x, out, None if ids is None else _as_ids(ids))

    def trim(self) -> int:
        """Gives back the scratch memory of steps; returns the number of bytes.

        The states stay; the next step allocates again.
        """
        return self._bank.trim()

    def state(self, id: int) -> Any:
        """A copy of a stream's state, as the cell takes and returns it: [1, size] arrays."""
        return self._model.state_of(self._bank.state(_as_id(id))[np.newaxis])

    def reset(self, id: int, state: Any = None) -> None:
        """Starts a stream again from ``state``, or from zeros."""
        model = self._model
        zeros = np.zeros(sum(model.widths), model.dtype)
        self._bank.set_state(_as_id(id), zeros if state is None else self._values(state))

    def _values(self, state: Any) -> Array:
        values: Array = self._model.values_of(state, 1)[0]
        return values

    def __repr__(self) -> str:
        return (
            f"<StreamBank of '{self._model.name}' input_size={self.input_size} "
            f"output_size={self.output_size} dtype={self.dtype} streams={len(self)}>"
        )


def _as_id(id: Any) -> int:
    try:
        number = operator.index(id)
    except TypeError:
        raise TypeError(f"id must be an integer, received {type(id).__name__}") from None
    if not 0 <= number < 2**63:
        raise ValueError(f"no stream {number} in the bank")
    return number


def _as_ids(ids: Any) -> Array:
    """``ids`` as the native bank takes them: int64 [n]."""
    if isinstance(ids, np.ndarray):
        array = ids
    elif isinstance(ids, Iterable):
        items = list(ids)
        array = np.array(items) if items else np.empty(0, np.int64)
        if array.dtype.kind not in "iu":
            array = np.array([_as_id(item) for item in items], np.int64)
    else:
        raise TypeError(f"ids must be a sequence of integers, received {type(ids).__name__}")
    if array.dtype.kind not in "iu":
        raise TypeError(f"ids must be integers, received dtype {array.dtype.name}")
    return np.ascontiguousarray(array, np.int64)
