"""The budgets of an installed wheel: its size, and what importing it takes. Run where it is."""

from __future__ import annotations

import importlib.metadata
import statistics
import subprocess
import sys

MAX_BYTES = 5_000_000
MAX_IMPORT_MS = 60
RUNS = 9
IMPORT = """
import time
import numpy
begin = time.perf_counter()
import lstmcore
print(1e3 * (time.perf_counter() - begin))
"""


def installed() -> set[str]:
    return {distribution.metadata["Name"] for distribution in importlib.metadata.distributions()}


def import_ms() -> float:
    child = [sys.executable, "-c", IMPORT]
    times = [
        float(subprocess.run(child, capture_output=True, text=True, check=True).stdout)
        for _ in range(1 + RUNS)
    ]
    return statistics.median(times[1:])  # the first fills the cache of files


others = installed() - {"pip", "setuptools", "numpy", "lstmcore"}
assert not others, f"beside NumPy there are {others}"
files = importlib.metadata.files("lstmcore") or []
size = sum(file.locate().stat().st_size for file in files)
assert 0 < size < MAX_BYTES, f"installed: {size} bytes, at most {MAX_BYTES}"
milliseconds = import_ms()
assert milliseconds < MAX_IMPORT_MS, f"import: {milliseconds:.1f} ms, at most {MAX_IMPORT_MS}"
print(
    f"installed {size / 1e6:.2f} MB (at most {MAX_BYTES / 1e6:g}), "
    f"import {milliseconds:.1f} ms over NumPy (at most {MAX_IMPORT_MS})"
)
