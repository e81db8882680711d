"""What the table of shapes does not show: a busy core, ragged batches, the costs to start."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lstmcore.benchmark import measure
from lstmcore.benchmark.cases import Case

BUSY = Case(0, 8, 256, 256)
BUSY_RUNS = 5000


def busy_core(commands: measure.Commands, threads: int, say: Callable[[str], None]) -> list[Any]:
    """Each engine's calls while one process spins on one core: median, 99th percentile, worst."""
    rows = []
    cores = sorted(os.sched_getaffinity(0))
    chosen = {n: c for n, c in commands.items() if n in ("lstmcore", "onnxruntime")}
    for core in (None, cores[0], cores[-1]):
        spin = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
        spinner = None if core is None else subprocess.Popen([sys.executable, "-c", spin])
        workers = measure.start(chosen, [threads], say)
        try:
            for worker in workers:
                variants = worker.ask(do="build", case=BUSY.as_dict())
                for variant in variants:
                    runs = worker.ask(do="each", variant=variant, runs=BUSY_RUNS)[100:]
                    rows.append(
                        {
                            "busy_core": core,
                            "engine": worker.engine,
                            "variant": variant,
                            "threads": threads,
                            "median": statistics.median(runs),
                            "p99": sorted(runs)[len(runs) * 99 // 100],
                            "worst": max(runs),
                        }
                    )
        finally:
            for worker in workers:
                worker.close()
            if spinner:
                spinner.kill()
                spinner.wait()
    return rows


_RAGGED = """
    import json, statistics, sys, time
    import numpy as np, lstmcore
    steps, batch, units, threads = map(int, sys.argv[1:])
    lstmcore.set_num_threads(threads)
    random = np.random.default_rng(1)
    lengths = np.linspace(1, steps, batch).round().astype(np.int64)
    random.shuffle(lengths)
    x = random.standard_normal((steps, batch, units), np.float32)
    cell = lstmcore.BasicLSTMCell(units)
    cell(x[0], cell.zero_state(batch, np.float32))
    mean = round(lengths.mean())
    def run(array, lengths=None):
        begun = time.perf_counter()
        lstmcore.dynamic_rnn(cell, array, lengths, dtype=np.float32, time_major=True)
        return time.perf_counter() - begun
    def run_packed():
        begun = time.perf_counter()
        lstmcore.packed_rnn(cell, values, offsets)
        return time.perf_counter() - begun
    values = np.concatenate([x[:length, n] for n, length in enumerate(lengths)])
    offsets = np.cumsum([0, *lengths])
    even = np.ascontiguousarray(x[:mean])
    times = [(run(x, lengths), run_packed(), run(even)) for _ in range(24)][3:]
    ragged, packed, padless = (statistics.median(column) for column in zip(*times))
    padless *= lengths.sum() / (mean * batch)
    print(json.dumps({"seconds": ragged, "packed": packed, "even": padless}))
"""


def ragged(python: str, threads: list[int]) -> list[Any]:
    """Time of a ragged batch, and of as many steps in rows of equal length."""
    rows = []
    for steps, batch, units in ((100, 8, 256), (100, 32, 256), (100, 64, 512), (200, 128, 64)):
        for count in threads:
            command = [python, "-c", textwrap.dedent(_RAGGED)]
            command += [str(n) for n in (steps, batch, units, count)]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            case = Case(steps, batch, units, units, ragged=True).as_dict()
            rows.append({"case": case, "threads": count, **json.loads(output)})
    return rows


_IMPORT = (
    "import time, numpy; t = time.perf_counter(); import lstmcore; print(time.perf_counter() - t)"
)
_MEMORY = """
    import re, numpy as np, lstmcore
    def peak():  # ru_maxrss would begin with the parent's
        return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
    np.random.default_rng()  # 6 MB of code, which do not grow with the layer
    units = 512
    before = peak()
    cell = lstmcore.BasicLSTMCell(units)
    cell.build([None, units])
    cell(np.ones((1, units), np.float32), cell.zero_state(1, np.float32))
    print((peak() - before) / (4 * (2 * units * 4 * units + 4 * units)))
"""


def cold(python: str) -> dict[str, float]:
    """Seconds to import over NumPy, installed bytes, and peak memory over that of the weights."""

    def number(code: str) -> float:
        command = [python, "-c", textwrap.dedent(code)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    where = "import lstmcore, os; print(os.path.dirname(lstmcore.__file__))"
    folder = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True)
    files = [p for p in Path(folder.stdout.strip()).rglob("*") if "__pycache__" not in p.parts]
    return {
        "import_seconds": statistics.median(number(_IMPORT) for _ in range(7)),
        "installed_bytes": sum(p.stat().st_size for p in files if p.is_file()),
        "memory_over_weights": number(_MEMORY),
    }
