"""What a call from Python costs, in nanoseconds: the median and the least of many batches of calls.

    python bench/call_overhead.py

A layer of one unit and one input does next to nothing, so its first column is the call itself.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import lstmcore

BATCHES, SECONDS = 15, 0.02


def nanoseconds(call: Callable[[], Any]) -> tuple[float, float]:
    begun = time.perf_counter()
    call()
    n = max(10, int(SECONDS / max(time.perf_counter() - begun, 1e-6)))
    each = []
    for _ in range(BATCHES):
        begun = time.perf_counter()
        for _ in range(n):
            call()
        each.append((time.perf_counter() - begun) / n * 1e9)
    return statistics.median(each), min(each)


def calls(size: int) -> dict[str, Callable[[], Any]]:
    cell = lstmcore.BasicLSTMCell(size, dtype="float32")
    x, c, h, out = np.zeros((4, 1, size), np.float32)
    _, state = cell(x, cell.zero_state(1, np.float32))
    core = cell._native()
    stream = lstmcore.Stream(cell)
    row, row_out = x[0], np.empty(size, np.float32)
    sequence = x[None]
    return {
        "Stream.step_into": lambda: stream.step_into(row, row_out),
        "Stream.step": lambda: stream.step(row),
        "_core.Lstm.step, out and state_out": lambda: core.step(x, c, h, out=out, state_out=c),
        "_core.Lstm.step": lambda: core.step(x, c, h),
        "cell(x, state)": lambda: cell(x, state),
        "dynamic_rnn, one time step": lambda: lstmcore.dynamic_rnn(
            cell, sequence, initial_state=state, time_major=True
        ),
    }


def main() -> None:
    lstmcore.set_num_threads(1)
    sizes = (1, 64)
    columns = [{name: nanoseconds(call) for name, call in calls(s).items()} for s in sizes]
    print(f"{'median (least), ns':<38}" + "".join(f"{f'I = H = {s}':>16}" for s in sizes))
    for name in columns[0]:
        figures = "".join(
            f"{f'{column[name][0]:.0f} ({column[name][1]:.0f})':>16}" for column in columns
        )
        print(f"{name:<38}{figures}")


if __name__ == "__main__":
    main()
