"""Variables: named arrays that cells compute with (TF API: ``tf.Variable``)."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from lstmcore import shared_state
from lstmcore.arrays import Array, as_array
from lstmcore.dtypes import DType
from lstmcore.variables.operators import ValueOperators

_serials = itertools.count()


class WeightsWatcher(Protocol):
    """What holds something computed from variables, such as packed weights."""

    def _weights_changed(self) -> None: ...


class SliceInfo(NamedTuple):
    """Where one part of a partitioned variable lies in the whole (one entry in a checkpoint)."""

    full_name: str
    full_shape: tuple[int, ...]
    offset: tuple[int, ...]


class VariableOp(NamedTuple):
    """Stands for the op TF1 code asks for the plain name: ``variable.op.name``."""

    name: str


class Variable(ValueOperators):
    """A named array of fixed shape and dtype; ``assign`` replaces its value.

    ``name`` ends in ``:0`` as in TensorFlow, ``op.name`` does not. Reading gives read-only arrays,
    which keep the value they were read with when the variable is assigned later.
    """

    def __init__(
        self,
        initial_value: Any,
        name: str = "Variable",
        trainable: bool = True,
        slice_info: SliceInfo | None = None,
    ) -> None:
        self._value = _frozen_copy(as_array(initial_value, f"initial_value of {name}"))
        self.op = VariableOp(name)
        self.trainable = trainable
        self.slice_info = slice_info
        self.serial = next(_serials)
        self._watchers: weakref.WeakSet[WeightsWatcher] = weakref.WeakSet()

    @property
    def name(self) -> str:
        return f"{self.op.name}:0"

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._value.shape)

    def get_shape(self) -> tuple[int, ...]:
        return self.shape

    @property
    def dtype(self) -> DType:
        return self._value.dtype

    def numpy(self) -> Array:
        """The value, read-only."""
        return self._value

    def value(self) -> Array:
        """The value, read-only."""
        return self._value

    def read_value(self) -> Array:
        """The value, read-only."""
        return self._value

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False and dtype is not None and np.dtype(dtype) != self.dtype:
            raise ValueError(f"{self.name} has dtype {self.dtype}: {dtype} needs a copy")
        array = self._value if dtype is None else self._value.astype(dtype, copy=False)
        return array.copy() if copy else array

    def check_assignable(self, value: Any) -> Array:
        """``value`` as the array that ``assign`` would take, in this dtype; changes nothing.

        Raises ValueError for another shape, and for values that are no numbers, would lose their
        fraction or are too large for the dtype; TypeError for what is no array.
        """
        if isinstance(value, (list, tuple, int, float)):
            try:
                array = np.asarray(value)
            except (ValueError, TypeError, RecursionError) as error:
                raise ValueError(
                    f"Cannot assign value to variable '{self.name}': {error}"
                ) from None
        else:
            array = as_array(value, f"value for {self.name}")
        if array.shape != self.shape:
            raise ValueError(
                f"Cannot assign value to variable '{self.name}': Shape mismatch. The variable "
                f"shape {self.shape}, and the assigned value shape {array.shape} are incompatible."
            )
        if not np.can_cast(array.dtype, self.dtype, casting="same_kind"):
            raise ValueError(
                f"Cannot assign value to variable '{self.name}': it has dtype {self.dtype.name}, "
                f"the assigned value has dtype {array.dtype.name}"
            )
        return self._converted(array)

    def _converted(self, array: Array) -> Array:
        """``array`` in the variable's dtype. Raises ValueError for numbers that have no place."""
        if array.dtype == self.dtype:
            return array
        with np.errstate(over="ignore"):
            converted = array.astype(self.dtype)
        if self.dtype.kind in "iu":
            lost = converted != array
        elif self.dtype.kind in "fc":
            lost = np.isinf(converted) & np.isfinite(array)
        else:
            return converted
        if lost.any():
            raise ValueError(
                f"Cannot assign value to variable '{self.name}': {array[lost].flat[0]} is too "
                f"large for its dtype {self.dtype.name}"
            )
        return converted

    def assign(self, value: Any) -> Variable:
        """Replaces the value; cells that use this variable repack their weights at the next call.

        Takes anything ``check_assignable`` takes, copies it, and returns the variable.
        """
        array = self.check_assignable(value)
        frozen = _frozen_copy(array, self.dtype)
        with shared_state.lock:
            self._value = frozen
            for watcher in tuple(self._watchers):
                watcher._weights_changed()
        return self

    def load(self, value: Any, session: Any = None) -> None:
        """``assign``; ``session`` has no meaning here."""
        self.assign(value)

    def __getitem__(self, index: Any) -> Any:
        return self._value[index]

    def __len__(self) -> int:
        return len(self._value)

    def __bool__(self) -> bool:
        # len() would make a variable with no rows false, and any other true
        return bool(self._value)

    def watch(self, watcher: WeightsWatcher) -> None:
        """Tells ``watcher`` (held weakly) of every later ``assign``."""
        with shared_state.lock:
            self._watchers.add(watcher)

    def __repr__(self) -> str:
        return f"<Variable '{self.name}' shape={self.shape} dtype={self.dtype.name}>"

    def __getstate__(self) -> dict[str, Any]:
        return {
            "value": np.array(self._value),
            "name": self.op.name,
            "trainable": self.trainable,
            "slice_info": self.slice_info,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        Variable.__init__(self, state["value"], **{k: v for k, v in state.items() if k != "value"})


class PartitionedVariable(ValueOperators):
    """One variable stored as several along its first sliced axis (``kernel/part_0``, ...)."""

    def __init__(self, name: str, parts: Sequence[Variable], partitions: Sequence[int]) -> None:
        self.name = name
        self.parts = tuple(parts)
        self.partitions = tuple(partitions)
        self.axis = next((axis for axis, count in enumerate(partitions) if count > 1), 0)

    @property
    def dtype(self) -> DType:
        return self.parts[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        shape = list(self.parts[0].shape)
        shape[self.axis] = sum(part.shape[self.axis] for part in self.parts)
        return tuple(shape)

    def get_shape(self) -> tuple[int, ...]:
        return self.shape

    @property
    def trainable(self) -> bool:
        return self.parts[0].trainable

    def numpy(self) -> Array:
        """The parts joined, read-only."""
        return _freeze(np.concatenate([part.numpy() for part in self.parts], axis=self.axis))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError(f"{self.name} is stored in parts: reading it whole needs a copy")
        return self.numpy() if dtype is None else self.numpy().astype(dtype, copy=False)

    def assign(self, value: Any) -> PartitionedVariable:
        """Replaces the whole value; nothing changes where the shape or dtype is wrong."""
        array = as_array(value, f"value for {self.name}")
        if array.shape != self.shape:
            raise ValueError(
                f"Cannot assign value to variable '{self.name}': Shape mismatch. The variable "
                f"shape {self.shape}, and the assigned value shape {array.shape} are incompatible."
            )
        ends = np.cumsum([part.shape[self.axis] for part in self.parts])[:-1]
        pieces = np.split(array, ends, axis=self.axis)
        for part, piece in zip(self.parts, pieces, strict=True):
            part.check_assignable(piece)
        with shared_state.lock:
            for part, piece in zip(self.parts, pieces, strict=True):
                part.assign(piece)
        return self

    def load(self, value: Any, session: Any = None) -> None:
        """``assign``; ``session`` has no meaning here."""
        self.assign(value)

    def __iter__(self) -> Iterator[Variable]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def __repr__(self) -> str:
        return (
            f"<PartitionedVariable '{self.name}' shape={self.shape} dtype={self.dtype.name} "
            f"parts={len(self.parts)}>"
        )


def _frozen_copy(array: Array, dtype: DType | None = None) -> Array:
    native = array.dtype.newbyteorder("=") if dtype is None else dtype
    return _freeze(np.array(array, dtype=native, order="C", copy=True, subok=False))


def _freeze(array: Array) -> Array:
    array.flags.writeable = False
    return array
