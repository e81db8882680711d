"""Measures the error of the fused activations: the table of docs/activations.md.

    python bench/ulp_table.py                      # all 2^32 float32 values: half an hour
    python bench/ulp_table.py --stride 5 --write   # every fifth of them, into the document

Every ISA level that this machine has runs in a process of its own. float32 is judged by float64,
float64 by long double on a sample of every exponent, since 2^64 values are out of reach.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lstmcore import _core

DOCUMENT = Path(__file__).parents[1] / "docs" / "activations.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
CHUNK = 1 << 22
FLOAT64_ROUNDS = 32  # of 131 040 values each


def exact_sigmoid(x: np.ndarray) -> np.ndarray:
    decay = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, decay) / (1 + decay)


FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sigmoid": exact_sigmoid,
    "tanh": np.tanh,
    "exponential": np.exp,
}


def float32_values(stride: int) -> Iterator[np.ndarray]:
    """Every ``stride``-th bit pattern, in pieces."""
    for begin in range(0, 1 << 32, CHUNK * stride):
        patterns = np.arange(begin, min(begin + CHUNK * stride, 1 << 32), stride, dtype=np.uint64)
        yield patterns.astype(np.uint32).view(np.float32)


def float64_values() -> Iterator[np.ndarray]:
    """Random mantissas for both signs of every exponent, and the unsaturated range evenly."""
    rng = np.random.default_rng(1)
    exponents = np.arange(2047, dtype=np.uint64) << np.uint64(52)
    for _ in range(FLOAT64_ROUNDS):
        mantissas = rng.integers(0, 1 << 52, (16, 2047), dtype=np.uint64)
        positive = (exponents | mantissas).ravel().view(np.float64)
        yield np.concatenate([positive, -positive, rng.uniform(-40, 40, 1 << 16)])


def worst(name: str, values: Iterator[np.ndarray], wide: type) -> tuple[float, float]:
    """Largest error in units in the last place, and where.

    Denormal arguments count as zero, and a denormal result may be 0: both are flushed by design.
    """
    largest, where = 0.0, 0.0
    for x in values:
        limits = np.finfo(x.dtype)
        ours = _core.activate(name, x)
        with np.errstate(all="ignore"):
            exact = FUNCTIONS[name](np.where(np.abs(x) < limits.tiny, 0, x).astype(wide))
            magnitude = np.maximum(np.abs(exact), wide(limits.tiny))
            difference = np.abs(ours - exact)
            # A unit is at least this part of the value, so only these can be worse than the worst.
            candidates = difference > magnitude * wide(largest * limits.epsneg)
            candidates &= (magnitude <= wide(limits.max)) & ~(
                (ours == 0) & (magnitude == limits.tiny)
            )
        if not candidates.any():
            continue
        exponents = np.frexp(magnitude[candidates])[1]
        errors = difference[candidates] / np.ldexp(wide(1), exponents - 1 - limits.nmant)
        k = int(np.argmax(errors))
        if errors[k] > largest:
            largest, where = float(errors[k]), float(x[candidates][k])
    return largest, where


def measure(stride: int) -> dict[str, tuple[float, float]]:
    results = {}
    for name in FUNCTIONS:
        results[f"{name} float32"] = worst(name, float32_values(stride), np.float64)
        results[f"{name} float64"] = worst(name, float64_values(), np.longdouble)
    return results


def measure_level(level: str, stride: int) -> dict[str, tuple[float, float]]:
    command = [sys.executable, __file__, "--child", "--stride", str(stride)]
    child = subprocess.run(
        command,
        env=os.environ | {"LSTMCORE_FORCE_ISA": level},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(child.stdout)


def table(levels: dict[str, dict[str, tuple[float, float]]], stride: int) -> str:
    tested = -(-(1 << 32) // stride)
    rows = [
        f"float32: {tested:,} values, evenly through all 2^32 bit patterns. float64: "
        f"{FLOAT64_ROUNDS * 131_040:,} values through all exponents.\n",
        "| function | " + " | ".join(levels) + " |",
        "|---|" + "---|" * len(levels),
    ]
    for key in next(iter(levels.values())):
        cells = (f"{results[key][0]:.2f} at {results[key][1]:.9g}" for results in levels.values())
        rows.append(f"| {key} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stride", type=int, default=1, help="measure every n-th float32")
    parser.add_argument("--write", action="store_true", help="put the table into the document")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.stride)))
        return
    levels = {level: measure_level(level, options.stride) for level in _core.info()["isa_found"]}
    text = table(levels, options.stride)
    print(text, end="")
    if options.write:
        before, _, rest = DOCUMENT.read_text().partition(BEGIN)
        DOCUMENT.write_text(before + BEGIN + text + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
