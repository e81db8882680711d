"""What a call leaves behind that an exception ends, wherever it came: Ctrl-C comes between any two.

The ``__exit__`` of a context manager may be interrupted before it did anything. So functions that
enter scopes restore them here, in a handler around everything.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from lstmcore import _core, shared_state
from lstmcore.variables.graph import Graph, get_default_graph

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def unwound(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """The function; where it raises, scopes and the thread's limit are as before the call."""

    @functools.wraps(function)
    def called(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        scopes = get_default_graph().scopes
        entered, attempts = scopes.entered, scopes.attempts
        threads = _core.num_threads_of_this_thread()
        try:
            return function(*args, **kwargs)
        except BaseException:
            scopes.back_to(entered, attempts)
            _core.exchange_num_threads_of_this_thread(threads)
            raise

    return called


def all_or_nothing(
    graph: Graph,
    function: Callable[Parameters, Result],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Result:
    """``function(...)``; where it raises, scopes, names, variables and layers are as before.

    Scopes that it entered stay so. Other threads see what may not stay, unless the lock of
    ``shared_state`` is held meanwhile, as where variables are made by the library's own code.
    """
    scopes = graph.scopes
    place = scopes.place()
    try:
        scopes.attempt()
        result = function(*args, **kwargs)
    except BaseException:
        with shared_state.lock:
            scopes.undo(place)
        raise
    scopes.keep(place)
    return result
