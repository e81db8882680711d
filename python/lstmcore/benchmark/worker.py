"""One engine at one number of threads, in a process of its own, driven by lines of JSON.

``python -m lstmcore.benchmark.worker ENGINE THREADS``; see :func:`serve` for the requests.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np

from lstmcore.benchmark import reference
from lstmcore.benchmark.cases import Case, Inputs, Variant, make_inputs

CHECKED_STEPS = 5  # a wrong carried state shows after one


def error_of(case: Case, inputs: Inputs, variant: Variant, expected: Any) -> float:
    """Largest absolute difference from float64, of a step after ``CHECKED_STEPS``."""
    variant.run(CHECKED_STEPS if case.is_step else 1)
    output = np.asarray(variant.output())
    if output.shape != expected.shape:
        raise ValueError(f"expected an output of shape {expected.shape}, got {output.shape}")
    return float(np.abs(output - expected).max())


def seconds_per_run(variant: Variant, at_least: float) -> float:
    """The mean over as many runs as take about so long.

    One comes before them, which finds its threads asleep and its data in other caches.
    """
    variant.run(1)
    n, taken = 1, 0.0
    while True:
        begun = time.perf_counter()
        variant.run(n)
        taken = time.perf_counter() - begun
        if taken >= at_least / 2 or n >= 1 << 20:
            return taken / n
        n = max(2, min(8 * n, int(n * 0.75 * at_least / max(taken, 1e-7)) + 1))


def each_run(variant: Variant, n: int) -> list[float]:
    """The seconds of each of n runs."""
    taken = []
    for _ in range(n):
        begun = time.perf_counter()
        variant.run(1)
        taken.append(time.perf_counter() - begun)
    return taken


class Server:
    """Holds the variants of one case at a time."""

    def __init__(self, module: Any, threads: int) -> None:
        self.threads = threads
        self.module = module
        self.variants: dict[str, Variant] = {}

    def answer(self, request: dict[str, Any]) -> Any:
        if request["do"] == "build":
            return self.build(Case(**request["case"]))
        variant = self.variants[request["variant"]]
        if request["do"] == "time":
            return seconds_per_run(variant, request["seconds"])
        return each_run(variant, request["runs"])

    def build(self, case: Case) -> dict[str, float]:
        inputs = make_inputs(case)
        self.variants = self.module.variants(case, inputs, self.threads)
        if not self.variants:
            return {}
        expected = reference.expected(case, inputs, CHECKED_STEPS)
        return {n: error_of(case, inputs, v, expected) for n, v in self.variants.items()}


def serve(
    import_engine: Callable[[], Any], threads: int, requests: TextIO, answers: TextIO
) -> None:
    """Says the engine's version, then answers each line: ``{"ok": ...}`` or ``{"error": text}``.

    Requests: ``{"do": "build", "case": ...}`` gives the error of each variant, ``{"do": "time",
    "variant": name, "seconds": s}`` seconds per run, ``{"do": "each", "variant": name, "runs": n}``
    those of each run.
    """

    def reply(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=answers, flush=True)

    try:
        server = Server(import_engine(), threads)
    except Exception as error:
        reply({"error": f"{type(error).__name__}: {error}"})
        return
    reply({"ok": server.module.version()})
    for line in requests:
        try:
            reply({"ok": server.answer(json.loads(line))})
        except Exception as error:  # of any engine; the driver reports it
            reply({"error": f"{type(error).__name__}: {error}"[:300]})


if __name__ == "__main__":
    # what engines print is not for the driver
    answers, sys.stdout = sys.stdout, sys.stderr
    name = f"lstmcore.benchmark.engines.{sys.argv[1]}"
    serve(lambda: importlib.import_module(name), int(sys.argv[2]), sys.stdin, answers)
