"""Soak test: random models, shapes, lengths, streams and threads; resident memory must stay flat.

    python tests/soak.py --seconds 60

Prints resident memory at intervals and the slope over the second half of the run, in KiB per 1000
calls. Exits with 1 where the slope is above the bound: a leak of 64 bytes a call is.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import lstmcore

M_ARENA_MAX = -8  # of glibc's malloc.h
ROUNDS = 40
SIZES = (1, 2, 3, 5, 8, 13, 24, 40, 64, 100, 160)
DTYPES = (np.float32, np.float64)


class Worker:
    """Calls of every kind, by a generator of its own; ``calls`` counts them."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.random = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.folder = folder
        self.calls = 0

    def run(self, end: float) -> None:
        kinds: list[Callable[[], None]] = [
            self.model,
            self.loaded,
            self.cells,
            self.streams,
            self.bank,
            self.refused,
        ]
        while time.monotonic() < end:
            self.random.choice(kinds)()
            if self.random.random() < 0.02:
                lstmcore.trim()

    def size(self) -> int:
        return self.random.choice(SIZES)

    def draw(self, *shape: int, dtype: Any = np.float32) -> np.ndarray:
        return self.numbers.standard_normal(shape).astype(dtype)

    def new_model(self, bidirectional: bool | None = None, dtype: Any = None) -> lstmcore.LSTM:
        pick = self.random.choice
        return lstmcore.LSTM(
            self.size(),
            self.size(),
            pick((1, 2, 3)),
            bidirectional=pick((False, True)) if bidirectional is None else bidirectional,
            num_proj=pick((None, self.size())),
            use_peepholes=pick((False, True)),
            activation=pick(("tanh", "relu", "softsign")),
            dtype=pick(DTYPES) if dtype is None else dtype,
        )

    def call(self, model: lstmcore.LSTM) -> None:
        rows, steps = self.size(), self.size()
        threads = self.random.choice((None, 1, 2, 3))
        outputs = self.random.choice(("all", "last", "c", "hc"))
        lengths = [self.random.randint(0, steps) for _ in range(rows)]
        if self.random.random() < 0.3:
            offsets = np.cumsum([0, *lengths])
            x = self.draw(int(offsets[-1]), model.input_size, dtype=model.dtype)
            model(x, offsets=offsets, outputs=outputs, threads=threads)
        else:
            x = self.draw(rows, steps, model.input_size, dtype=model.dtype)
            state = model.zero_state(rows) if self.random.random() < 0.5 else None
            lengths = self.random.choice((None, lengths))
            model(x, lengths, state, outputs, return_state=True, threads=threads)
        self.calls += 1

    def model(self) -> None:
        model = self.new_model()
        for _ in range(5):
            self.call(model)

    def loaded(self) -> None:
        files = sorted(self.folder.iterdir())
        self.call(lstmcore.load(self.random.choice(files)))

    def cells(self) -> None:
        pick = self.random.choice
        with lstmcore.Graph().as_default():
            make = (
                lambda: lstmcore.BasicLSTMCell(self.size()),
                lambda: lstmcore.LSTMCell(self.size(), True, 0.9, num_proj=self.size()),
                lambda: lstmcore.LSTMBlockCell(self.size()),
                lambda: lstmcore.MultiRNNCell([lstmcore.LSTMCell(self.size()) for _ in range(2)]),
            )
            cell, rows, steps = pick(make)(), self.size(), self.size()
            x = self.draw(rows, steps, self.size())
            lstmcore.dynamic_rnn(cell, x, dtype=np.float32)
            state = cell.zero_state(rows, np.float32)
            for t in range(min(steps, 10)):
                _, state = cell(x[:, t], state)
            pair = lstmcore.LSTMCell(self.size()), lstmcore.BasicLSTMCell(self.size())
            lstmcore.bidirectional_dynamic_rnn(*pair, x, dtype=np.float32)
        self.calls += min(steps, 10) + 2

    def streams(self) -> None:
        model = self.new_model(bidirectional=False, dtype=np.float32)
        rows = self.size()
        stream = lstmcore.Stream(model, rows)
        out = np.empty((rows, model.output_size), np.float32)
        for _ in range(3):
            stream.push(self.draw(self.size(), rows, model.input_size))
            stream.step_into(self.draw(rows, model.input_size), out)
            stream = lstmcore.Stream.from_bytes(model, stream.fork().to_bytes())
        self.calls += 6

    def bank(self) -> None:
        model = self.new_model(bidirectional=False, dtype=np.float32)
        bank = lstmcore.StreamBank(model)
        for _ in range(10):
            bank.join()
            if self.random.random() < 0.3:
                bank.leave(self.random.choice(bank.ids))
            bank.step(self.draw(len(bank), model.input_size))
        self.calls += 10

    def refused(self) -> None:
        """Errors hold tracebacks, which hold arrays."""
        model = self.new_model(dtype=np.float32)
        x = self.draw(2, 3, model.input_size)
        for arguments in ((x[:, :, :0],), (x, [4, 1]), (x, None, ()), (x.astype(np.float64),)):
            try:
                model(*arguments)
            except (TypeError, ValueError):
                self.calls += 1
            else:
                raise AssertionError("expected an error")
        try:
            lstmcore.load(self.folder / "none.safetensors")
        except (lstmcore.LoadError, OSError):
            self.calls += 1


def resident() -> int:
    """KiB; what is held for reuse, by the C library and by lstmcore, is given back first."""
    gc.collect()
    lstmcore.trim()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def slope(samples: list[tuple[int, int]]) -> float:
    """Median of the slopes of all pairs (Theil & Sen), in KiB per 1000 calls."""
    pairs = [
        1000 * (later[1] - earlier[1]) / (later[0] - earlier[0])
        for k, earlier in enumerate(samples)
        for later in samples[k + 1 :]
        if later[0] > earlier[0]
    ]
    return float(np.median(pairs))


def write_models(folder: Path, worker: Worker) -> None:
    for k in range(6):
        worker.new_model().save(folder / f"model{k}.safetensors")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=3, help="Python threads that call at once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bound", type=float, default=32, help="KiB per 1000 calls")
    arguments = parser.parse_args()
    # One arena: malloc_trim gives nothing back of the ends of the others, one for each new thread.
    ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workers = [Worker(arguments.seed + k, folder) for k in range(arguments.threads)]
        write_models(folder, workers[0])
        samples = soak(workers, arguments.seconds)
    half = samples[len(samples) // 2 :]
    found = slope(half)
    print(
        f"{samples[-1][0]} calls in {arguments.seconds:.0f} s by {len(workers)} threads; resident "
        f"{half[0][1]} KiB half way, {half[-1][1]} KiB at the end; "
        f"slope {found:.2f} KiB per 1000 calls, bound {arguments.bound:.0f}"
    )
    return 0 if found <= arguments.bound else 1


def soak(workers: list[Worker], seconds: float) -> list[tuple[int, int]]:
    """(calls, KiB resident) after each of ROUNDS rounds, when no call is under way."""
    begun = time.monotonic()
    samples: list[tuple[int, int]] = []
    for k in range(ROUNDS):
        with ThreadPoolExecutor(len(workers)) as pool:  # threads of its own: they come and go
            end = begun + (k + 1) * seconds / ROUNDS
            for done in [pool.submit(worker.run, end) for worker in workers]:
                done.result()
        samples.append((sum(worker.calls for worker in workers), resident()))
        print(f"{time.monotonic() - begun:7.1f} s {samples[-1][0]:9} calls {samples[-1][1]:8} KiB")
    return samples


if __name__ == "__main__":
    sys.exit(main())
