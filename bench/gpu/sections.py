"""A report in one JSON file that grows: what is in it stays, whatever happens afterwards."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

FAMILY_LIMIT = 3  # cases of a kind that end a process before the others are passed over
AGAIN = (
    75  # exit status of a phase whose process cannot go on, but whose other cases can in a new one
)

# After these every call fails until the process ends: lstmcore's word for it, and torch's.
_FATAL = re.compile(
    r"works again when the process is restarted|CUDA error: (an illegal|unspecified launch"
    r"|misaligned|device-side assert|the launch timed out|hardware stack|invalid program counter)"
)


class Report:
    """The file; each change replaces it whole, so that it can be read at any moment."""

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, threading.RLock()
        self.data: dict[str, Any] = (
            json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"sections": {}}
        )

    def save(self, indent: int | None = None) -> None:
        with self.lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new = self.path.with_suffix(".new")
            new.write_text(json.dumps(self.data, indent=indent) + "\n", encoding="utf-8")
            os.replace(new, self.path)


def trying_file(report: Path) -> Path:
    """Beside the report: what is being tried and its family, written before it is."""
    return report.with_suffix(".trying")


def write_trying(report: Path, what: str, family: str) -> None:
    trying_file(report).write_text(f"{what}\t{family}", encoding="utf-8")


def read_trying(report: Path) -> tuple[str, str]:
    file = trying_file(report)
    what, _, family = (
        file.read_text(encoding="utf-8").partition("\t") if file.exists() else ("",) * 3
    )
    return what, family


class Section:
    """One part of the report, with the seconds it may take.

    ``again``: goes on with what an earlier process of this part has left. Of the names given to
    ``attempt`` those in ``data["lost"]`` took that process down, and are passed over.
    """

    def __init__(self, report: Report, name: str, seconds: float, again: bool = False) -> None:
        self._report, self._name = report, name
        self._start = time.monotonic()
        self._end = self._start + seconds
        if not again:
            report.data["sections"][name] = {}
        self.data: dict[str, Any] = report.data["sections"].setdefault(name, {})
        self.data.setdefault("rows", [])
        self.data.pop("cut_short", None)

    def say(self, text: str) -> None:
        print(f"[{self._name} {self.elapsed:6.1f} s] {text}", flush=True)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._start

    @property
    def left(self) -> float:
        return self._end - time.monotonic()

    def enough(self, needed: float = 0.0) -> bool:
        """Whether that many seconds are left; where not, the report says that it was cut short."""
        if self.left > needed:
            return True
        self.data["cut_short"] = True
        return False

    def put(self, **values: Any) -> None:
        with self._report.lock:
            self.data.update(values)
            self._report.save()

    def row(self, **values: Any) -> None:
        with self._report.lock:
            self.data["rows"].append(values)
            self._report.save()

    def error(self, what: str, text: str, where: str = "") -> None:
        with self._report.lock:
            self.data.setdefault("errors", []).append({"what": what, "error": text, "where": where})
            self._report.save()

    def has_row(self, **values: Any) -> bool:
        """Whether an earlier process has got as far."""
        return any(values.items() <= row.items() for row in self.data["rows"])

    def lost(self, what: str, family: str = "") -> bool:
        """Whether it took an earlier process down, or too many of its family did."""
        entries = self.data.get("lost", [])
        relatives = [entry for entry in entries if family and entry["family"] == family]
        return len(relatives) >= FAMILY_LIMIT or any(entry["what"] == what for entry in entries)

    def attempt(self, what: str, work: Callable[[], Any], family: str = "") -> Any:
        """The result, or None; then the report has the error.

        Where CUDA can do no more in this process it ends, for a new one to go on.
        """
        if self.lost(what, family):
            return None
        before = read_trying(self._report.path)
        write_trying(self._report.path, what, family)
        try:
            result = work()
        except Exception as error:
            self._failed(what, error)
            result = None
        write_trying(self._report.path, *before)
        return result

    def succeeds(self, what: str, work: Callable[[], Any]) -> bool:
        """Of work that is no case: whether it ended well; else the report has the error."""
        try:
            work()
        except Exception as error:
            self._failed(what, error)
            return False
        return True

    def _failed(self, what: str, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        self.say(f"{what}: {text}")
        self.error(what, text[:2000], traceback.format_exc()[-1500:])
        if _FATAL.search(text):
            self.say("CUDA can do no more in this process")
            sys.stdout.flush()
            os._exit(AGAIN)  # not through destructors, which would call CUDA

    def finish(self) -> None:
        trying_file(self._report.path).unlink(missing_ok=True)
        self.put(seconds=round(self.data.get("seconds", 0) + self.elapsed, 1))
