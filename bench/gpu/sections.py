"""A report in one JSON file that grows: what is in it stays, whatever happens afterwards."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Report:
    """The file; each change replaces it whole, so that it can be read at any moment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data: dict[str, Any] = (
            json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"sections": {}}
        )

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.data, indent=1) + "\n", encoding="utf-8")
        os.replace(new, self.path)


class Section:
    """One part of the report, with the seconds it may take."""

    def __init__(self, report: Report, name: str, seconds: float) -> None:
        self._report, self._name = report, name
        self._start = time.monotonic()
        self._end = self._start + seconds
        self.data: dict[str, Any] = report.data["sections"].setdefault(name, {})
        self.data["rows"] = []

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
        self.data.update(values)
        self._report.save()

    def row(self, **values: Any) -> None:
        self.data["rows"].append(values)
        self._report.save()

    def attempt(self, what: str, work: Callable[[], Any]) -> Any:
        """The result, or None; then the report has the error."""
        try:
            return work()
        except Exception as error:
            self.say(f"{what}: {type(error).__name__}: {error}")
            self.data.setdefault("errors", []).append(
                {"what": what, "error": f"{type(error).__name__}: {error}",
                 "where": traceback.format_exc()[-1500:]}
            )  # fmt: skip
            self._report.save()
            return None

    def finish(self) -> None:
        self.put(seconds=round(self.elapsed, 1))
