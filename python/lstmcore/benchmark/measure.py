"""The driver: engines take turns in one run, so that slow spells of the machine hit all alike."""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lstmcore.benchmark import engines
from lstmcore.benchmark.cases import Case

#: Largest absolute error of a float32 result that counts as one.
ERROR_LIMIT = 5e-6
#: After its first slice, a variant so many times slower than its engine's best one is left out.
HOPELESS = 2.0
# Between slices, for the machine to come to rest.
_PAUSE = 0.02


class Worker:
    """A process with one engine. ``command`` starts a Python that has it, and lstmcore.

    It is stopped (SIGSTOP) but while it is asked: threads of some engines spin for 50 ms and more
    after a call, on cores that whoever is measured next would have to share.
    """

    def __init__(
        self, engine: str, threads: int, command: list[str], env: Mapping[str, str]
    ) -> None:
        self.engine, self.threads = engine, threads
        self._process = subprocess.Popen(
            [*command, engine, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **engines.environment(threads), **env},
        )
        self.version = self._receive()
        self._process.send_signal(signal.SIGSTOP)

    def ask(self, **request: Any) -> Any:
        """The answer. Raises RuntimeError with the engine's own words, or when it has died."""
        assert self._process.stdin
        self._process.send_signal(signal.SIGCONT)
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            return self._receive()
        except BrokenPipeError:
            raise RuntimeError(f"{self.engine} has ended") from None
        finally:
            self._process.send_signal(signal.SIGSTOP)

    def _receive(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.engine} ended with code {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["ok"]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


Commands = Mapping[str, tuple[list[str], Mapping[str, str]]]


def own_commands(names: Iterable[str]) -> Commands:
    """Those of the engines that this Python has."""
    from importlib.util import find_spec

    command = [sys.executable, "-m", "lstmcore.benchmark.worker"]
    return {n: (command, {}) for n in names if find_spec(engines.REQUIRES[n])}


def start(commands: Commands, threads: Iterable[int], say: Callable[[str], None]) -> list[Worker]:
    """A worker for each engine and number of threads; those that fail are reported and left out."""
    workers = []
    for count in threads:
        for engine, (command, env) in commands.items():
            try:
                workers.append(Worker(engine, count, command, env))
            except RuntimeError as error:
                say(f"{engine} is left out: {error}")
    return workers


def measure_case(
    case: Case, workers: list[Worker], rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """One row per engine, threads and variant: error, and the seconds per run of each round.

    Engines are asked in another random order each round. A variant that fails or is wrong keeps
    its row, with ``failed`` saying why.
    """
    rows: list[dict[str, Any]] = []
    for worker in workers:
        row: dict[str, Any] = {
            "case": case.as_dict(),
            "engine": worker.engine,
            "threads": worker.threads,
        }
        try:
            found = worker.ask(do="build", case=case.as_dict())
        except RuntimeError as failure:
            rows.append({**row, "variant": "", "failed": str(failure)})
            continue
        for variant, error in found.items():
            failed = {} if error <= ERROR_LIMIT else {"failed": f"error {error:.2g}"}
            rows.append({**row, "variant": variant, "error": error, "seconds": [], **failed})
    by_key = {(worker.engine, worker.threads): worker for worker in workers}
    runners = [row for row in rows if "failed" not in row]
    order = random.Random(1)
    for k in range(rounds):
        order.shuffle(runners)
        for row in runners:
            time.sleep(_PAUSE)
            worker = by_key[row["engine"], row["threads"]]
            row["seconds"].append(worker.ask(do="time", variant=row["variant"], seconds=seconds))
        if k == 0:
            runners = [row for row in runners if not _hopeless(row, runners)]
    for row in rows:
        if row.get("seconds"):
            row["median"] = statistics.median(row["seconds"])
    return rows


def _hopeless(row: dict[str, Any], rows: list[dict[str, Any]]) -> bool:
    own = [r["seconds"][0] for r in rows if _same_engine(r, row)]
    return bool(row["seconds"][0] > HOPELESS * min(own))


def _same_engine(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return bool(a["engine"] == b["engine"] and a["threads"] == b["threads"])
