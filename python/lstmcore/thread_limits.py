"""How many threads calls use: of the process, within a ``with`` block, and of one call."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator
from typing import Any

from lstmcore import _core


def set_num_threads(threads: int) -> None:
    """Lets every call of this process use at most so many threads, from now on.

    Takes the place of the default, of which ``LSTMCORE_NUM_THREADS`` is a part. Raises TypeError
    for what is no integer, ValueError unless in 1..1024.
    """
    _core.set_num_threads(_core.checked_threads(threads))


def threads(threads: int) -> contextlib.AbstractContextManager[None]:
    """``with threads(n):`` lets the calls within use at most ``n`` threads.

    It is about the calls that this Python thread makes, and no others: blocks of other threads do
    not disturb it, and threads started within do not have it. Takes the place of
    ``set_num_threads`` and of a block around it. Raises as ``set_num_threads``.
    """
    return _chosen(_core.checked_threads(threads))


@contextlib.contextmanager
def _chosen(number: int) -> Iterator[None]:
    before = _core.exchange_num_threads_of_this_thread(number)
    try:
        yield
    finally:
        _core.exchange_num_threads_of_this_thread(before)


def at_most(threads: Any) -> contextlib.AbstractContextManager[None]:
    """A block for the ``threads`` argument of one call, which only lowers what holds around it."""
    if threads is None:
        return contextlib.nullcontext()
    return _chosen(min(_core.checked_threads(threads), _core.get_num_threads()))


@functools.cache
def register_threadpoolctl() -> None:
    """Shows lstmcore to threadpoolctl's ``threadpool_info()`` and ``threadpool_limits()``.

    Done by the import of lstmcore where threadpoolctl (3.2 or newer) was imported before. Limits
    are those of ``set_num_threads``. Calling it again does nothing. Raises ImportError where
    threadpoolctl is missing or older.
    """
    import threadpoolctl

    if not hasattr(threadpoolctl, "register"):
        raise ImportError("threadpoolctl 3.2 or newer is needed")

    class Controller(threadpoolctl.LibController):  # type: ignore[misc]
        user_api = "lstmcore"
        internal_api = "lstmcore"
        filename_prefixes = ("_core",)
        check_symbols = ("lstmcore_get_num_threads", "lstmcore_set_num_threads")

        def get_num_threads(self) -> Any:
            return self.dynlib.lstmcore_get_num_threads()

        def set_num_threads(self, num_threads: int) -> Any:
            return self.dynlib.lstmcore_set_num_threads(num_threads)

        def get_version(self) -> str:
            return _core.__version__

    threadpoolctl.register(Controller)


if hasattr(sys.modules.get("threadpoolctl"), "register"):
    register_threadpoolctl()
