"""A layer's two names: ``name``, from a counter per class, and the scope of its variables."""

from __future__ import annotations

import re
import warnings
import weakref
from typing import Any

from lstmcore.variables.graph import Graph, get_default_graph
from lstmcore.variables.variable_scope import VariableScope, variable_scope


class LayerScope:
    """How a layer gets its names, and enters the scope that its first use fixed."""

    _reuse: Any
    _scope: VariableScope | None
    #: The graph of the scope.
    _graph: weakref.ref[Graph] | None
    #: Which names, in which generation, count the scope as opened.
    _open_mark: tuple[object, int] | None

    def _set_names(self, name: Any) -> None:
        base = _snake_case(type(self).__name__)
        if isinstance(name, VariableScope):
            self._base_name = name.name
            self._name = get_default_graph().unique_layer_name(base)
        elif not isinstance(name, (str, type(None))):
            raise TypeError(
                f"name must be a string, received {name!r} of type {type(name).__name__}"
            )
        else:
            self._base_name = name or base
            self._name = name or get_default_graph().unique_layer_name(base)

    @property
    def name(self) -> str:
        return str(self._name)

    @property
    def scope_name(self) -> str:
        """The scope of the variables. Raises ValueError before the first call, which fixes it."""
        if self._scope is None:
            raise ValueError(
                f'No name available for layer scope because the layer "{self._name}" has not been '
                "used yet. The scope name  is determined the first time the layer instance is "
                "called. You must therefore call the layer before querying `scope_name`."
            )
        return self._scope.name

    @property
    def graph(self) -> None:
        """None, with TensorFlow's warning: layers do not record where they were made."""
        warnings.warn(
            "`Layer.graph` is deprecated and will be removed in a future version. Please stop "
            "using this property because tf.layers layers no longer track their graph.",
            stacklevel=2,
        )

    def _set_scope(self, scope: str | VariableScope | None = None) -> VariableScope:
        if self._scope is None:
            if self._reuse:
                context = variable_scope(self._base_name if scope is None else scope)
            else:
                context = variable_scope(scope, default_name=self._base_name)
            with context as entered:
                self._scope = entered
            self._graph = weakref.ref(get_default_graph())
        return self._scope

    def _note_open(self) -> None:
        """Counts the layer's scope as opened, for a call that needs no scope itself.

        Later default names in the same enclosing scope depend on it. In another graph than that of
        its variables a layer takes no name.
        """
        graph = get_default_graph()
        if self._graph is None or self._scope is None or self._is_noted():
            return
        names = graph.scopes.names
        if self._graph() is graph:
            names.open(self._scope.name)
        self._open_mark = (names, names.generation)

    def _is_noted(self) -> bool:
        """Whether the next call, where it is made, needs to count no scope as opened."""
        names, mark = get_default_graph().scopes.names, self._open_mark
        return mark is not None and mark[0] is names and mark[1] == names.generation


def _snake_case(name: str) -> str:
    """``BasicLSTMCell`` -> ``basic_lstm_cell``, as Keras names layers."""
    words = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    snake = re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
    return f"private{snake}" if snake.startswith("_") else snake
