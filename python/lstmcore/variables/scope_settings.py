"""What a variable scope hands down to the variables created inside it."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from typing import Any

from lstmcore import dtypes
from lstmcore.variables.graph import get_default_graph
from lstmcore.variables.variable import Variable
from lstmcore.variables.variable_store import Partitioner

CustomGetter = Callable[..., Any]


class _ReuseMode(enum.Enum):
    AUTO_REUSE = 1


#: ``reuse=AUTO_REUSE`` creates a variable that does not exist and shares one that does.
AUTO_REUSE = _ReuseMode.AUTO_REUSE


def check_reuse(reuse: Any) -> None:
    """Raises ValueError unless ``reuse`` is None, True, False or ``AUTO_REUSE``."""
    if not (reuse is None or reuse is True or reuse is False or reuse is AUTO_REUSE):
        raise ValueError(f"The reuse parameter must be True or False or None. Received {reuse!r}")


class VariableScope:
    """Defaults for ``get_variable``: the name in front, and what to share or create.

    ``in_block`` is true inside any scope the caller opened: its names come again when it is opened
    again. ``transient`` is true inside a scope whose name got an automatic number outside any such
    scope, a name that never comes again: the graph does not hold its variables (see ``graph``).
    """

    def __init__(
        self,
        reuse: Any,
        name: str = "",
        initializer: Any = None,
        partitioner: Partitioner | None = None,
        custom_getter: CustomGetter | None = None,
        dtype: dtypes.DType = dtypes.SUPPORTED[0],
    ) -> None:
        self.name = name
        self.reuse = reuse
        self.initializer = initializer
        self.partitioner = partitioner
        self.custom_getter = custom_getter
        self.dtype = dtype
        self.in_block = False
        self.transient = False

    @property
    def original_name_scope(self) -> str:
        """The name with a slash behind it, what op names would start with."""
        return f"{self.name}/" if self.name else ""

    def reuse_variables(self) -> None:
        """From now on this scope only shares existing variables."""
        self.reuse = True

    def set_initializer(self, initializer: Any) -> None:
        self.initializer = initializer

    def set_dtype(self, dtype: Any) -> None:
        self.dtype = dtypes.as_dtype(dtype)

    def set_partitioner(self, partitioner: Partitioner | None) -> None:
        self.partitioner = partitioner

    def set_custom_getter(self, custom_getter: CustomGetter | None) -> None:
        self.custom_getter = custom_getter

    def global_variables(self) -> list[Variable]:
        """The default graph's variables inside this scope."""
        return get_default_graph().global_variables(self.original_name_scope)

    def trainable_variables(self) -> list[Variable]:
        return get_default_graph().trainable_variables(self.original_name_scope)

    def derive(
        self,
        name: str,
        *,
        reuse: Any,
        initializer: Any = None,
        partitioner: Partitioner | None = None,
        custom_getter: CustomGetter | None = None,
        dtype: Any = None,
    ) -> VariableScope:
        """A scope named ``name`` with these settings, and this scope's where they are None."""
        return VariableScope(
            reuse or self.reuse,
            name,
            self.initializer if initializer is None else initializer,
            self.partitioner if partitioner is None else partitioner,
            _chain(custom_getter, self.custom_getter),
            self.dtype if dtype is None else dtypes.as_dtype(dtype),
        )

    def __repr__(self) -> str:
        return f"<VariableScope '{self.name}' reuse={self.reuse}>"


def _chain(inner: CustomGetter | None, outer: CustomGetter | None) -> CustomGetter | None:
    """``inner``, whose getter argument first goes through ``outer``."""
    if inner is None or outer is None:
        return inner if outer is None else outer
    return lambda getter, *args, **kwargs: inner(functools.partial(outer, getter), *args, **kwargs)
