"""The base of the wrappers: a cell that calls another one."""

from __future__ import annotations

from typing import Any, TypeVar

from lstmcore.arrays import Array
from lstmcore.cells.rnn_cell import RNNCell
from lstmcore.layers.scoped_build import ScopedBuild
from lstmcore.placement import Placement, name_of, own_placement
from lstmcore.rnn.checks import check_rnn_cell
from lstmcore.variables.variable_scope import VariableScope

Self = TypeVar("Self", bound="CellWrapper")


class CellWrapper(RNNCell):
    """A cell that calls ``cell``; sizes and states are those of ``cell``.

    Raises TypeError for what is no cell.
    """

    def __init__(self, cell: Any, **kwargs: Any) -> None:
        check_rnn_cell("cell", cell)
        super().__init__(**kwargs)
        self.cell = cell

    @property
    def _placement(self) -> Placement | None:
        return own_placement(self.cell)

    @property
    def device(self) -> str:
        """That of the cell: "cpu", or a GPU such as "cuda:0"."""
        return name_of(self._placement)

    @property
    def state_size(self) -> Any:
        return self.cell.state_size

    @property
    def output_size(self) -> Any:
        return self.cell.output_size

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        return self.cell.zero_state(batch_size, dtype)

    def build(self, inputs_shape: Any) -> None:
        """Builds the wrapped cell."""
        self.cell.build(inputs_shape)
        self.built = True

    def __call__(
        self, inputs: Any, state: Any, scope: str | VariableScope | None = None
    ) -> tuple[Any, Any]:
        self._check_step(inputs)
        output, new_state = self.cell(inputs, state, scope=scope)
        return self._wrapped_output(inputs, output), new_state

    def _check_before_build(self, inputs: Any, state: Any) -> None:
        if isinstance(self.cell, RNNCell):
            self.cell._check_before_build(inputs, state)

    def _scoped_build(self, inputs: Any, scope: str | VariableScope | None = None) -> ScopedBuild:
        """The wrapped cell's: a wrapper has no scope and no variables of its own."""
        built: ScopedBuild = self.cell._scoped_build(inputs, scope)
        return built

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """One time step through the ``call`` of the wrapped cell, which must be built."""
        self._check_step(inputs)
        output, new_state = self.cell.call(inputs, state)
        return self._wrapped_output(inputs, output), new_state

    def _check_step(self, inputs: Any) -> None:
        """What the wrapper asks of one step's inputs."""

    def _wrapped_output(self, inputs: Any, output: Any) -> Any:
        """The wrapper's output, from the cell's."""
        return output

    @property
    def _native_sequence(self) -> bool:
        cls = type(self)
        if cls.__call__ is not CellWrapper.__call__ or cls.call is not CellWrapper.call:
            return False
        return isinstance(self.cell, RNNCell) and self.cell._native_sequence

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
        result: tuple[Any, Any] = self.cell._run_sequence(
            inputs, state, lengths, where=where, time_major=time_major, reverse=reverse
        )
        return result

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the cell as its class name and config."""
        return {
            **super().get_config(),
            "cell": {
                "class_name": type(self.cell).__name__,
                "config": self.cell.get_config(),
            },
        }

    @classmethod
    def from_config(cls: type[Self], config: dict[str, Any]) -> Self:
        """Needs the entry ``cell`` replaced by a cell; raises ValueError otherwise."""
        arguments = dict(config)
        cell = arguments.pop("cell", None)
        try:
            check_rnn_cell("cell", cell)
        except TypeError:
            raise ValueError(
                "RNNCellWrapper cannot reconstruct the wrapped cell. Please overwrite the cell in "
                "the config with a RNNCell instance."
            ) from None
        return cls(cell, **arguments)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} '{self.name}' of {self.cell!r}>"
