"""The context in which a layer computes: its scope entered, its variables built."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from lstmcore import shared_state
from lstmcore.variables.variable_scope import VariableScope, variable_scope

if TYPE_CHECKING:
    from lstmcore.layers.layer import Layer


class ScopedBuild:
    """The context of one use of a layer, see ``Layer._scoped_build``."""

    __slots__ = ("_context", "_inputs", "_layer", "_scope")

    def __init__(self, layer: Layer, inputs: Any, scope: str | VariableScope | None) -> None:
        self._layer = layer
        self._inputs = inputs
        self._scope = scope

    def __enter__(self) -> VariableScope:
        if self._layer._is_ready():
            return self._enter()
        with shared_state.lock:
            entered = self._enter()
            try:
                self._layer._build_once(self._inputs)
            except BaseException:
                self._context.__exit__(None, None, None)
                raise
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

    __slots__ = ("_outer", "_verbatim")

    def __init__(self, cell: Layer, inputs: Any, outer: variable_scope, *, verbatim: bool) -> None:
        super().__init__(cell, inputs, None)
        self._outer = outer
        self._verbatim = verbatim

    def __enter__(self) -> VariableScope:
        entered = self._outer.__enter__()
        if self._verbatim:
            self._scope = entered
        try:
            return super().__enter__()
        except BaseException:
            self._outer.__exit__(None, None, None)
            raise

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._outer.__exit__(*exception)
