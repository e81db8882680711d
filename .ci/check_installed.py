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
wall, own = time.perf_counter(), time.process_time()
import lstmcore
print(time.perf_counter() - wall, time.process_time() - own)
"""


def installed() -> set[str]:
    return {distribution.metadata["Name"] for distribution in importlib.metadata.distributions()}


def import_ms() -> tuple[float, float]:
    """By the clock, and of the processor: a busy machine slows the first, not the second."""
    child = [sys.executable, "-c", IMPORT]
    runs = [
        subprocess.run(child, capture_output=True, text=True, check=True).stdout.split()
        for _ in range(1 + RUNS)
    ]
    wall, own = zip(*runs[1:], strict=True)  # the first run fills the cache of files
    return 1e3 * statistics.median(map(float, wall)), 1e3 * statistics.median(map(float, own))


others = installed() - {"pip", "setuptools", "numpy", "lstmcore"}
assert not others, f"beside NumPy there are {others}"
files = importlib.metadata.files("lstmcore") or []
sizes = {str(file): file.locate().stat().st_size for file in files}
bytecode = sum(size for name, size in sizes.items() if name.endswith(".pyc"))  # pip compiles it
size = sum(sizes.values())
assert 0 < size < MAX_BYTES, f"installed: {size} bytes, at most {MAX_BYTES}"
wall, own = import_ms()
assert own < MAX_IMPORT_MS, f"import: {own:.1f} ms, at most {MAX_IMPORT_MS}"
print(
    f"installed {size / 1e6:.3f} MB (at most {MAX_BYTES / 1e6:g}), bytecode of "
    f"{bytecode / 1e6:.2f} MB in it, "
    f"import {own:.1f} ms over NumPy (at most {MAX_IMPORT_MS}), {wall:.1f} ms by the clock"
)
