"""One thread's place in a graph: the scopes it is in, the names it has opened, and the way back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from lstmcore.variables.scope_names import ScopeNames

if TYPE_CHECKING:
    from lstmcore.variables.scope_settings import VariableScope


class Entered(NamedTuple):
    """A scope that was entered and not left yet."""

    scope: VariableScope
    outer: Entered | None
    #: Where the names stood, which leaving a captured scope restores; None for other scopes.
    mark: int | None
    #: Whether this scope or one around it has a mark.
    restores_names: bool


class Place(NamedTuple):
    """What ``undo`` can bring ``ThreadScopes`` back to."""

    entered: Entered | None
    attempts: int
    names: int
    changes: int


class ThreadScopes(threading.local):
    """Not shared between threads.

    An exception may come between any two lines (Ctrl-C): then ``back_to`` or ``undo`` is called,
    which restore what was there, however far things had got, and may themselves be called again.
    """

    def __init__(self) -> None:
        self.names = ScopeNames()
        #: The scope outside all others, made when first wanted.
        self.root: VariableScope | None = None
        #: The innermost scope.
        self.entered: Entered | None = None
        #: How many times over what happens now may have to be undone.
        self.attempts = 0
        self._changes: list[Callable[[], object]] = []

    def place(self) -> Place:
        return Place(self.entered, self.attempts, self.names.mark(), len(self._changes))

    def attempt(self) -> None:
        """From now on ``undo`` can undo."""
        self.attempts += 1
        self._settle()

    def note(self, undo: Callable[[], object]) -> None:
        """How to undo a change that is about to be made; it may be called without the change."""
        if self.attempts:
            self._changes.append(undo)

    def leave(self, entered: Entered) -> None:
        """Leaves this scope, and those that were left open inside it."""
        self._leave_until(entered.outer)
        if entered.mark is not None:
            self._settle()

    def is_inside(self, entered: Entered) -> bool:
        inner = self.entered
        while inner is not None and inner is not entered:
            inner = inner.outer
        return inner is entered

    def back_to(self, entered: Entered | None, attempts: int) -> None:
        """Leaves the scopes inside ``entered``; what was made in them stays."""
        self._leave_until(entered)
        self.attempts = attempts
        self._settle()

    def undo(self, place: Place) -> None:
        """Undoes everything since ``place``, after which ``attempt`` was called."""
        self._leave_until(place.entered)
        self.names.rollback(place.names)
        while len(self._changes) > place.changes:
            self._changes[-1]()
            self._changes.pop()
        self.attempts = place.attempts
        self._settle()

    def keep(self, place: Place) -> None:
        """What was done since ``place`` was not in vain; scopes that were entered stay so."""
        self.attempts = place.attempts
        self._settle()

    def _leave_until(self, outer: Entered | None) -> None:
        entered, names = self.entered, self.names
        while entered is not outer and entered is not None:
            if entered.mark is None:
                names.close_subscopes(entered.scope.name)
            else:
                names.rollback(entered.mark)
            entered = self.entered = entered.outer

    def _settle(self) -> None:
        """Keeps no more of the way back than somebody may want to go."""
        inside = self.entered is not None and self.entered.restores_names
        self.names.remember(inside or self.attempts > 0)
        if not self.attempts:
            self._changes.clear()
