"""Variable scopes: names and sharing of variables, as TF1's graph mode has them.

TF API: ``tf.compat.v1.variable_scope``, ``get_variable``, ``AUTO_REUSE``.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmcore import dtypes
from lstmcore.variables import initializers, variable_store
from lstmcore.variables.graph import Graph, get_default_graph
from lstmcore.variables.scope_settings import AUTO_REUSE as AUTO_REUSE
from lstmcore.variables.scope_settings import CustomGetter, check_reuse
from lstmcore.variables.scope_settings import VariableScope as VariableScope
from lstmcore.variables.thread_scopes import Entered, ThreadScopes
from lstmcore.variables.variable import PartitionedVariable, Variable


def _scopes_of(graph: Graph) -> tuple[ThreadScopes, VariableScope]:
    scopes = graph.scopes
    entered = scopes.entered
    if entered is not None:
        return scopes, entered.scope
    if scopes.root is None:
        scopes.root = VariableScope(False)
    return scopes, scopes.root


def get_variable_scope() -> VariableScope:
    """The default graph's current scope; its name is "" outside every ``variable_scope``."""
    return _scopes_of(get_default_graph())[1]


class variable_scope:
    """Context manager that opens a scope inside the current one, or re-enters a captured one.

    Args:
        name_or_scope: a name, put behind the current scope's, or a ``VariableScope``, entered with
            its own full name. None takes ``default_name``, made unique with ``_1``, ``_2``, ...
        initializer, partitioner, custom_getter, dtype: defaults for ``get_variable`` inside.
        reuse: True shares only, ``AUTO_REUSE`` shares or creates, None or False inherits.
        values, regularizer, caching_device, use_resource, constraint, auxiliary_name_scope: taken
            for compatibility; they have no meaning without a graph of ops or training.

    Raises TypeError for a missing name or one of the wrong type, and ValueError for a wrong
    ``reuse``, or one given together with ``default_name`` alone.
    """

    def __init__(
        self,
        name_or_scope: str | VariableScope | None,
        default_name: str | None = None,
        values: Any = None,
        initializer: Any = None,
        regularizer: Any = None,
        caching_device: Any = None,
        partitioner: variable_store.Partitioner | None = None,
        custom_getter: CustomGetter | None = None,
        reuse: Any = None,
        dtype: Any = None,
        use_resource: bool | None = None,
        constraint: Any = None,
        auxiliary_name_scope: bool = True,
    ) -> None:
        if name_or_scope is None and default_name is None:
            raise TypeError("If default_name is None then name_or_scope is required")
        if name_or_scope is not None and not isinstance(name_or_scope, (str, VariableScope)):
            raise TypeError(
                "VariableScope: name_or_scope must be a string or VariableScope. "
                f"Received {name_or_scope!r}"
            )
        check_reuse(reuse)
        reuse = reuse or None
        if name_or_scope is None and reuse:
            raise ValueError("reuse=True cannot be used without a name_or_scope")
        self._name_or_scope = name_or_scope
        self._default_name = default_name
        self._reuse = reuse
        self._settings = {
            "initializer": initializers.get(initializer),
            "partitioner": partitioner,
            "custom_getter": custom_getter,
            "dtype": dtype,
        }
        self._named = name_or_scope is not None
        self._numbered = False
        # one entry for each time this object is entered and not left
        self._entered: list[tuple[ThreadScopes, Entered]] = []

    def __enter__(self) -> VariableScope:
        scopes, outer = _scopes_of(get_default_graph())
        given = self._name_or_scope
        if isinstance(given, VariableScope):
            source, name = given, given.name
        else:
            source, name = outer, self._full_name(scopes, outer)
        scope = source.derive(name, reuse=self._reuse, **self._settings)
        scope.in_block = outer.in_block or self._named
        scope.transient = source.transient or (self._numbered and not outer.in_block)
        names, around = scopes.names, scopes.entered
        names.open(name)
        # TensorFlow restores its table of names when a captured scope is left
        mark = names.mark() if isinstance(given, VariableScope) else None
        restores = mark is not None or (around is not None and around.restores_names)
        entered = Entered(scope, around, mark, restores)
        self._entered.append((scopes, entered))
        if restores:
            names.remember(True)
        scopes.entered = entered
        return scope

    def _full_name(self, scopes: ThreadScopes, outer: VariableScope) -> str:
        """The name inside ``outer``; a default name keeps its number when entered again."""
        if self._name_or_scope is None:
            assert self._default_name is not None
            self._name_or_scope = scopes.names.unique(outer.name, self._default_name)
            self._numbered = self._name_or_scope != self._default_name
        return f"{outer.name}/{self._name_or_scope}" if outer.name else str(self._name_or_scope)

    def __exit__(self, kind: type[BaseException] | None = None, *exception: object) -> None:
        """Leaves the scope, and what was left open in it.

        Raises RuntimeError where scopes were not left in the order in which they were entered; an
        exception on its way goes on instead.
        """
        scopes, entered = self._entered.pop()
        innermost = scopes.entered is entered
        if innermost or scopes.is_inside(entered):
            scopes.leave(entered)
        if not innermost and kind is None:
            raise RuntimeError("Improper nesting of variable_scope.")


def get_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool | None = None,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: variable_store.Partitioner | None = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    custom_getter: CustomGetter | None = None,
    constraint: Any = None,
    synchronization: Any = None,
    aggregation: Any = None,
) -> Any:
    """Finds or creates the variable ``name`` of the current scope.

    Args:
        shape: an int, a sequence of ints, or None when ``initializer`` is an array.
        dtype: default: the scope's, else float32. Sharing needs the same dtype.
        initializer: an array, a name, an object or a callable ``(shape, dtype)``; default: the
            scope's, else glorot_uniform.
        trainable, partitioner, custom_getter: as in TensorFlow; the other arguments are taken for
            compatibility and have no meaning here.

    Returns a ``Variable``, or a ``PartitionedVariable`` when there is a partitioner.

    Raises ValueError, in TensorFlow's words, when the scope's reuse forbids creating or sharing it,
    or when its shape or dtype differs from what is asked for.
    """
    graph = get_default_graph()
    scope = _scopes_of(graph)[1]
    if initializer is not None and not callable(initializer) and not isinstance(initializer, str):
        initializer = np.asarray(initializer)
        if dtype is not None and initializer.dtype != dtypes.as_dtype(dtype):
            raise ValueError(
                f"Initializer type '{initializer.dtype.name}' and explicit dtype "
                f"'{dtypes.as_dtype(dtype).name}' don't match."
            )
        dtype = initializer.dtype
    elif initializer is None:
        initializer = scope.initializer
    getter = functools.partial(_true_getter, graph, scope)
    full_name = f"{scope.name}/{name}" if scope.name else name
    arguments: dict[str, Any] = {
        "shape": shape,
        "dtype": scope.dtype if dtype is None else dtypes.as_dtype(dtype),
        "initializer": initializers.get(initializer),
        "regularizer": regularizer,
        "reuse": scope.reuse,
        "trainable": True if trainable is None else trainable,
        "collections": collections,
        "caching_device": caching_device,
        "partitioner": scope.partitioner if partitioner is None else partitioner,
        "validate_shape": validate_shape,
        "use_resource": use_resource,
        "synchronization": synchronization,
        "aggregation": aggregation,
    }
    custom_getter = scope.custom_getter if custom_getter is None else custom_getter
    if custom_getter is None:
        return getter(full_name, **arguments)
    if not callable(custom_getter):
        raise ValueError(f"Passed a custom_getter which is not callable: {custom_getter}")
    # by keyword, as TensorFlow does: some getters look for kwargs["name"]
    return custom_getter(getter=getter, name=full_name, **arguments)


def _true_getter(
    graph: Graph,
    scope: VariableScope,
    name: str,
    shape: Any = None,
    dtype: Any = dtypes.SUPPORTED[0],
    initializer: Any = None,
    reuse: Any = None,
    trainable: bool | None = None,
    partitioner: variable_store.Partitioner | None = None,
    **_: Any,
) -> Variable | PartitionedVariable:
    """What a custom getter receives as ``getter``; keywords without meaning here are dropped."""
    request = variable_store.Request(
        name=name,
        shape=_as_shape(shape, name),
        dtype=dtypes.as_dtype(dtype),
        initializer=initializer,
        reuse=reuse,
        trainable=True if trainable is None else trainable,
        partitioner=partitioner,
        keep=bool(scope.reuse) or not scope.transient,
    )
    return variable_store.find_or_create(graph, request)


def _as_shape(shape: Any, name: str) -> tuple[int, ...] | None:
    if shape is None:
        return None
    if hasattr(shape, "as_list"):
        shape = shape.as_list()
    sizes: Sequence[Any] = shape if isinstance(shape, Sequence) else [shape]
    result = tuple(int(size.__index__()) for size in sizes)
    if any(size < 0 for size in result):
        raise ValueError(f"Dimension {min(result)} must be >= 0 (shape of variable {name})")
    return result
