"""``Stream``: a cell or a stack of cells with its state, advanced as inputs arrive."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

import numpy as np

from lstmcore import _core
from lstmcore.arrays import as_size
from lstmcore.streams import serialized
from lstmcore.streams.model import StreamModel, model_of

Self = TypeVar("Self", bound="Stream")


class Stream(_core.Stream):
    """A cell or a ``MultiRNNCell`` with its state.

    However a sequence is cut into steps and pushes, the outputs are bit for bit those of
    ``dynamic_rnn`` for the whole of it.

    Args:
        cell: BasicLSTMCell, LSTMCell, LSTMBlockCell, LSTMBlockFusedCell, CudnnCompatibleLSTMCell,
            a MultiRNNCell of them, or an ``LSTM`` of forward layers. The stream keeps the weights
            that the cell has now: variables assigned later do not change it. Another stream or bank
            gives the weights that it keeps.
        batch_size: None for a single sequence, inputs [I] and outputs [P]; or the number N of
            sequences that advance together, inputs [N, I] and outputs [N, P].
        initial_state: a state as ``cell.zero_state(N, dtype)`` gives it, N = 1 for a single
            sequence; None for zeros.
        input_size: I, to build a cell that is not built; variables are named as by a first call.

    Raises TypeError for a cell that does not run natively, with the reason; ValueError for one that
    is not built, and for a state of other sizes.

    Two threads cannot use one stream at once: the second gets RuntimeError. ``fork`` gives each its
    own. The calls that compute release the GIL.
    """

    __slots__ = ("__weakref__", "_batch_size", "_model")

    _model: StreamModel
    _batch_size: int | None

    def __new__(
        cls: type[Self],
        cell: Any,
        batch_size: int | None = None,
        initial_state: Any = None,
        *,
        input_size: int | None = None,
    ) -> Self:
        rows = 1 if batch_size is None else as_size(batch_size, "batch_size", minimum=0)
        model = model_of(cell, input_size)
        values = None if initial_state is None else model.values_of(initial_state, rows)
        self = super().__new__(cls, model.layers, rows, batch_size is not None)
        self._model = model
        self._batch_size = None if batch_size is None else rows
        if values is not None:
            self._write_state(values, 0)
        return self

    @property
    def batch_size(self) -> int | None:
        return self._batch_size

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

    @property
    def state(self) -> Any:
        """A copy of the state, as the cell takes and returns it, in [N, size] arrays.

        Setting it takes a copy, keeps the count of steps, and raises as ``initial_state`` does.
        """
        return self._model.state_of(self._read_state())

    @state.setter
    def state(self, state: Any) -> None:
        self._write_state(self._model.values_of(state, self._rows), self.steps)

    @property
    def _rows(self) -> int:
        return 1 if self._batch_size is None else self._batch_size

    def reset(self, state: Any = None) -> None:
        """Starts again from ``state``, or from zeros; ``steps`` is 0 then."""
        model = self._model
        if state is None:
            values = np.zeros((self._rows, sum(model.widths)), model.dtype)
        else:
            values = model.values_of(state, self._rows)
        self._write_state(values, 0)

    def fork(self: Self) -> Self:
        """A stream that goes on from here by itself; both share the packed weights."""
        twin = self._copy()
        twin._model, twin._batch_size = self._model, self._batch_size
        return twin

    def to_bytes(self) -> bytes:
        """The state and the count of steps, for ``from_bytes``; the weights are not in it."""
        twin = self._copy()  # whose state and count belong together
        return serialized.dump(self._model, self._batch_size, twin.steps, twin._read_state())

    @classmethod
    def from_bytes(cls: type[Self], cell: Any, data: Any) -> Self:
        """The stream whose ``to_bytes`` gave ``data``, on the same or an equal cell.

        ``cell`` may be another stream of it, which spares hashing the weights again.

        Raises ValueError for data that is truncated, corrupt, of a version that this one does not
        read, or of a model with other sizes, options or weights; TypeError for what is no buffer.
        """
        content = serialized.parse(data)
        model = model_of(cell)
        values = serialized.checked_values(content, model)
        self = cls(model, content.batch_size)
        self._write_state(values, content.steps)
        return self

    def __copy__(self: Self) -> Self:
        return self.fork()

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        return self.fork()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a Stream is not pickled: use to_bytes() and Stream.from_bytes(cell, data)")

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} of '{self._model.name}' input_size={self.input_size} "
            f"output_size={self.output_size} batch_size={self._batch_size} dtype={self.dtype} "
            f"steps={self.steps}>"
        )
