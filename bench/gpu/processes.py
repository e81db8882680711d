"""Programs with a time limit, which end together with all that they have started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

PATIENCE = 3.0  # seconds between asking a program to end and making it
_running: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True)
class Done:
    """``code``: None where it was stopped, and ``stopped`` says why."""

    code: int | None
    output: str  # the end of both streams
    stopped: str = ""

    @property
    def reason(self) -> str:
        """Why it did not end well; empty where it did."""
        if self.code is None:
            return self.stopped
        if self.code < 0:
            return f"ended by {signal.Signals(-self.code).name}"
        return f"ended with {self.code}" if self.code else ""


def run(
    command: Sequence[object],
    limit: float,
    *,
    show: bool = False,
    stalled: Callable[[], str] = str,
    env: dict[str, str] | None = None,
) -> Done:
    """``show`` leaves its output where ours goes; ``stalled`` gives a reason to stop it, or ``""``.

    Output goes through a file: a pipe would be waited for as long as anyone holds its end.
    """
    with tempfile.TemporaryFile() as out:
        streams: dict[str, Any] = {} if show else {"stdout": out, "stderr": subprocess.STDOUT}
        words = [str(word) for word in command]
        end = time.monotonic() + limit
        process = subprocess.Popen(words, start_new_session=True, env=env, **streams)
        _running.add(process)
        reason = ""
        try:
            while process.poll() is None and not reason:
                late = f"stopped after {limit:.0f} s" if time.monotonic() > end else ""
                reason = late or stalled()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
        finally:
            stop(process)
            _running.discard(process)
        size = out.seek(0, os.SEEK_END)
        out.seek(max(0, size - 200_000))
        text = out.read().decode(errors="replace")
    return Done(None if reason else process.returncode, text, reason)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends its whole session. One that not even SIGKILL ends (the driver has it) is left behind."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None and number == signal.SIGTERM:
            continue  # what it has left running is killed
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)


def stop_all_on_terminate() -> None:
    """Makes SIGTERM end what ``run`` has started, too."""

    def handler(number: int, _: object) -> None:
        for process in list(_running):
            stop(process)
        os._exit(128 + number)

    signal.signal(signal.SIGTERM, handler)
