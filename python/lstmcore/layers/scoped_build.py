"""The context in which a layer computes: its scope entered, its variables built."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from lstmcore import shared_state
from lstmcore.variables.variable_scope import VariableScope, get_variable_scope, variable_scope

if TYPE_CHECKING:
    from lstmcore.cells.rnn_cell import RNNCell
    from lstmcore.layers.layer import Layer


class ScopedBuild:
    """The context of one use of a layer, see ``Layer._scoped_build``.

    Functions that enter it are ``unwound``, which leaves the scopes where entering them fails.
    """

    __slots__ = ("_context", "_inputs", "_layer", "_scope")

    def __init__(self, layer: Layer, inputs: Any, scope: str | VariableScope | None) -> None:
        self._layer = layer
        self._inputs = inputs
        self._scope = scope

    def __enter__(self) -> VariableScope:
        if self._layer._is_ready():
            return self._enter()
        with shared_state.lock:
            return self._layer._all_or_nothing(self._enter_and_build)

    def _enter_and_build(self) -> VariableScope:
        entered = self._enter()
        self._layer._build_once(self._inputs)
        return entered

    def _enter(self) -> VariableScope:
        layer = self._layer
        scope = layer._set_scope(self._scope)
        self._context = variable_scope(scope, reuse=True if layer.built else layer._reuse)
        return self._context.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._context.__exit__(kind, error, trace)


class CapturingBuild(ScopedBuild):
    """``ScopedBuild`` inside the scope in which a cell was first called."""

    __slots__ = ("_cell", "_outer")

    def __init__(self, cell: RNNCell, inputs: Any, scope: str | VariableScope | None) -> None:
        super().__init__(cell, inputs, scope)
        self._cell = cell

    def _enter(self) -> VariableScope:
        cell = self._cell
        if self._scope is None and cell._outer is None:
            cell._outer = get_variable_scope()
        # a new context each time: one object could not be shared between threads
        self._outer = variable_scope(
            cell._outer if self._scope is None else self._scope,
            custom_getter=cell._tracking_getter,
        )
        entered = self._outer.__enter__()
        if self._scope is not None:
            self._scope = entered  # taken verbatim
        return super()._enter()

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._outer.__exit__(*exception)
