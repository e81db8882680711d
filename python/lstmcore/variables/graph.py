"""Graphs: the namespaces in which variables are created, shared and released.

Nothing is recorded or deferred here; everything runs at once on arrays. What is kept of TF1's
graph is its role as the owner of variable names. As in TF1, each thread starts with a default
graph of its own, and ``with graph.as_default()`` makes threads share one.

Lifetime: a graph holds its variables, so that they can be shared by name, with one exception. A
scope that got an automatic number (``lstm_cell_1``, ``n_2``) outside any scope that the caller
opened, and without ``reuse``, has a name that never comes again: its variables live as long as a
cell uses them. So a process that makes and drops cells for days does not grow.
"""

from __future__ import annotations

import contextlib
import re
import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lstmcore import shared_state
from lstmcore.variables.thread_scopes import ThreadScopes

if TYPE_CHECKING:
    from lstmcore.variables.variable import PartitionedVariable, Variable


class Graph:
    """Owner of variables and of their names (TF API: ``tf.Graph``)."""

    def __init__(self) -> None:
        self.scopes = ThreadScopes()
        self._kept: list[Variable | PartitionedVariable] = []
        self._live: weakref.WeakValueDictionary[str, Variable] = weakref.WeakValueDictionary()
        self._live_partitioned: weakref.WeakValueDictionary[str, PartitionedVariable] = (
            weakref.WeakValueDictionary()
        )
        self._layer_names: dict[str, int] = {}

    @contextlib.contextmanager
    def as_default(self) -> Iterator[Graph]:
        """Makes this the graph in which the current thread creates and finds variables."""
        _thread.stack.append(self)
        try:
            yield self
        finally:
            _thread.stack.pop()

    def find(self, name: str) -> Variable | None:
        """The variable of this name (without ``:0``), or None."""
        return self._live.get(name)

    def find_partitioned(self, name: str) -> PartitionedVariable | None:
        return self._live_partitioned.get(name)

    def add(self, name: str, variable: Variable, *, keep: bool) -> None:
        """Registers a new variable, and holds it strongly if ``keep``."""
        self._add(self._live, name, variable, keep)

    def add_partitioned(self, name: str, variable: PartitionedVariable, *, keep: bool) -> None:
        """Registers the whole of a partitioned variable whose parts have been added."""
        self._add(self._live_partitioned, name, variable, keep)

    def _add(
        self, live: weakref.WeakValueDictionary[str, Any], name: str, variable: Any, keep: bool
    ) -> None:
        def undo() -> None:
            if live.get(name) is variable:
                del live[name]
            self._kept = [kept for kept in self._kept if kept is not variable]

        self.scopes.note(undo)
        if keep:
            self._kept.append(variable)
        live[name] = variable

    def unique_layer_name(self, base: str) -> str:
        """``base_1``, ``base_2``, ...: the names of layers that were given none."""
        with shared_state.lock:
            count = self._layer_names[base] = self._layer_names.get(base, 0) + 1
        return f"{base}_{count}"

    def global_variables(self, scope: str | None = None) -> list[Variable]:
        """The variables in creation order; ``scope`` keeps the names that it matches as a regex."""
        with shared_state.lock:
            variables = sorted(self._live.values(), key=lambda variable: variable.serial)
        if scope is None:
            return variables
        pattern = re.compile(scope)
        return [variable for variable in variables if pattern.match(variable.name)]

    def trainable_variables(self, scope: str | None = None) -> list[Variable]:
        return [variable for variable in self.global_variables(scope) if variable.trainable]


class _ThreadGraphs(threading.local):
    def __init__(self) -> None:
        self.stack = [Graph()]  # the thread's own, then those of ``as_default``


_thread = _ThreadGraphs()


def get_default_graph() -> Graph:
    """The graph of the innermost ``as_default()``, else the current thread's own."""
    return _thread.stack[-1]


def reset_default_graph() -> None:
    """Replaces the current thread's default graph by an empty one.

    Cells that are still referenced keep their variables. Raises AssertionError inside
    ``Graph.as_default()``, as TensorFlow does.
    """
    if len(_thread.stack) > 1:
        raise AssertionError(
            "Do not use tf.reset_default_graph() to clear nested graphs. If you need a cleared "
            "graph, exit the nesting and create a new graph."
        )
    _thread.stack[0] = Graph()


def global_variables(scope: str | None = None) -> list[Variable]:
    """The variables of the default graph, in creation order."""
    return get_default_graph().global_variables(scope)


def trainable_variables(scope: str | None = None) -> list[Variable]:
    """The trainable variables of the default graph, in creation order."""
    return get_default_graph().trainable_variables(scope)
