"""Which variable scopes have been opened: what makes a default name unique.

TensorFlow counts every scope it opens in one flat table, finds a free ``name_1``, ``name_2`` by
trying them in turn, scans the table whenever a scope is left and copies it whenever a captured
scope is re-entered. This class gives the same names with work that does not grow with the number
of scopes: a tree by name parts, runs ``name_1 ... name_k`` kept as one number, and a journal
instead of the copy.
"""

from __future__ import annotations

from collections.abc import Callable


class _Node:
    """The scopes directly inside one scope."""

    __slots__ = ("children", "opened", "run")

    def __init__(self) -> None:
        self.opened: set[str] = set()
        # base -> k: base_1 ... base_{k-1} have been opened (and need no entry in `opened`)
        self.run: dict[str, int] = {}
        self.children: dict[str, _Node] = {}

    def is_open(self, name: str) -> bool:
        if name in self.opened:
            return True
        base, index = _split_index(name)
        return 0 < index < self.run.get(base, 1)


def _split_index(name: str) -> tuple[str, int]:
    """``lstm_cell_12`` -> (``lstm_cell``, 12); 0 where the name has no such ending."""
    base, underscore, digits = name.rpartition("_")
    if underscore and digits.isascii() and digits.isdigit() and digits[0] != "0":
        return base, int(digits)
    return name, 0


class ScopeNames:
    """The opened scopes of one graph, as one thread sees them. Not shared between threads."""

    def __init__(self) -> None:
        self._root = _Node()
        self._undo: list[Callable[[], object]] = []
        #: Whether ``rollback`` may be wanted.
        self._remembers = False
        #: Changes whenever a scope may have become unopened again.
        self.generation = 0

    def open(self, name: str) -> None:
        """Notes that scope ``name`` (a full path) has been entered."""
        parent, leaf = self._parent_of(name)
        if parent.is_open(leaf):
            return
        base, index = _split_index(leaf)
        if index and index == parent.run.get(base, 1):
            self._set_run(parent, base, index + 1)
        else:
            self._on_rollback(lambda: parent.opened.discard(leaf))
            parent.opened.add(leaf)

    def unique(self, outer: str, name: str) -> str:
        """``name``, or the first of ``name_1``, ``name_2``, ... not yet opened inside ``outer``."""
        parent, leaf = self._parent_of(f"{outer}/{name}" if outer else name)
        if not parent.is_open(leaf):
            return name
        start = index = parent.run.get(leaf, 1)
        while f"{leaf}_{index}" in parent.opened:
            index += 1
        if index > start:
            self._set_run(parent, leaf, index)
        return f"{name}_{index}"

    def close_subscopes(self, name: str) -> None:
        """Forgets every scope inside ``name``, which is being left."""
        parent, leaf = self._parent_of(name)
        children = parent.children.get(leaf)
        if children is not None:
            self.generation += 1
            self._on_rollback(lambda: parent.children.__setitem__(leaf, children))
            parent.children.pop(leaf, None)

    def remember(self, wanted: bool) -> None:
        """Whether from now on changes are noted, so that ``rollback`` can undo them."""
        self._remembers = wanted
        if not wanted:
            self._undo.clear()

    def mark(self) -> int:
        """The present, for ``rollback``."""
        return len(self._undo)

    def rollback(self, mark: int) -> None:
        """Undoes everything since ``mark``."""
        self.generation += 1
        while len(self._undo) > mark:
            self._undo[-1]()
            self._undo.pop()

    def _on_rollback(self, action: Callable[[], object]) -> None:
        """Called before the change that ``action`` undoes, which may be called without it."""
        if self._remembers:
            self._undo.append(action)

    def _set_run(self, node: _Node, base: str, end: int) -> None:
        before = node.run.get(base, 1)
        self._on_rollback(lambda: node.run.__setitem__(base, before))
        node.run[base] = end

    def _parent_of(self, name: str) -> tuple[_Node, str]:
        *outer, leaf = name.split("/")
        node = self._root
        for part in outer:
            inner = node.children.get(part)
            if inner is None:
                self._on_rollback(lambda node=node, part=part: node.children.pop(part, None))  # type: ignore[misc]
                inner = node.children[part] = _Node()
            node = inner
        return node, leaf
