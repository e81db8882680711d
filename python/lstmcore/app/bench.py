"""``lstmcore bench``: lstmcore beside the engines that this Python can import."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lstmcore import _core
from lstmcore.app import info
from lstmcore.benchmark import cases, engines, measure, report


def run(*, quick: bool, threads: int | None, path: Path | None) -> None:
    """Measures, prints a table per number of threads, and writes the rows to ``path`` if given.

    Raises OSError where ``path`` cannot be written, before anything is measured.
    """
    if path is not None:
        path.touch()
    counts = sorted({1, _core.get_num_threads()}) if threads is None else [threads]
    chosen = cases.QUICK if quick else cases.ALL
    workers = measure.start(measure.own_commands(engines.REQUIRES), counts, _say)
    rows: list[dict[str, Any]] = []
    try:
        for k, case in enumerate(chosen):
            _progress(f"{k + 1}/{len(chosen)} {case.name}")
            rounds, seconds = (3, 0.02) if quick else (5, 0.04)
            rows += measure.measure_case(case, workers, rounds, seconds)
        _progress("")
    finally:
        for worker in workers:
            worker.close()
    for count in counts:
        print(report.text(report.summary(rows, count, None), count), end="\n\n")
    failed = sorted({f"{r['engine']} {r['variant']}: {r['failed']}" for r in rows if "failed" in r})
    if failed:
        print("left out:", *failed, sep="\n  ")
    if path is not None:
        machine = info.collect()
        versions = {worker.engine: worker.version for worker in workers}
        text = json.dumps({"machine": machine, "versions": versions, "rows": rows}, indent=1)
        path.write_text(text + "\n", encoding="utf-8")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
