"""What is measured: shapes, their inputs, and the least time that a machine allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """``steps`` 0 is one time step that carries its state from call to call, float32 throughout."""

    steps: int
    batch: int
    input_size: int
    num_units: int
    layers: int = 1
    bidirectional: bool = False
    ragged: bool = False  # lengths from 1 to ``steps``, half of it on average

    @property
    def is_step(self) -> bool:
        return self.steps == 0

    @property
    def name(self) -> str:
        length = "" if self.is_step else f"T{self.steps} "
        extra = f" x{self.layers}" if self.layers > 1 else ""
        extra += " bidirectional" if self.bidirectional else ""
        extra += " ragged" if self.ragged else ""
        return f"{length}B{self.batch} I{self.input_size} H{self.num_units}{extra}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


STEPS = [
    Case(0, *sizes)
    for sizes in (
        (1, 8, 8),
        (1, 40, 20),
        (1, 64, 64),
        (1, 128, 128),
        (1, 256, 256),
        (1, 512, 512),
        (1, 1024, 1024),
        (8, 256, 256),
        (32, 256, 256),
        (64, 512, 512),
        (10, 300, 128),
        (128, 1024, 1024),
        (256, 128, 128),
    )
]
SEQUENCES = [
    Case(100, 1, 64, 64),
    Case(100, 1, 128, 128),
    Case(100, 1, 256, 256),
    Case(100, 1, 512, 512),
    Case(50, 1, 1024, 1024),
    Case(100, 8, 256, 256),
    Case(100, 32, 256, 256),
    Case(100, 64, 512, 512),
    Case(50, 64, 1024, 1024),
    Case(1000, 1, 40, 256),
    Case(40, 10, 300, 128),
    Case(100, 1, 256, 256, layers=2),
    Case(100, 8, 256, 256, bidirectional=True),
]
RAGGED = [Case(100, 32, 256, 256, ragged=True), Case(100, 8, 256, 256, ragged=True)]
QUICK = [STEPS[2], STEPS[4], STEPS[7], SEQUENCES[0], SEQUENCES[2], SEQUENCES[5]]
ALL = [*STEPS, *SEQUENCES, *RAGGED]


@dataclass(frozen=True)
class Direction:
    """Weights of one direction of one layer: gates i, j, f, o; the bias has the forget bias 1."""

    W: Array  # [I, 4H]
    R: Array  # [H, 4H]
    b: Array  # [4H]


@dataclass(frozen=True)
class Inputs:
    x: Array  # [T, B, I], T = 1 for a step
    lengths: Array | None  # int64 [B]
    layers: list[list[Direction]]  # per layer one direction, or forwards and backwards


def make_inputs(case: Case) -> Inputs:
    """The same numbers in every process."""
    random = np.random.default_rng(20181)
    width, units = case.input_size, case.num_units
    layers = []
    for _ in range(case.layers):
        limit = (6 / (width + 5 * units)) ** 0.5  # glorot_uniform of TensorFlow's kernel

        def draw(*shape: int, limit: float = limit) -> Array:
            return random.uniform(-limit, limit, shape).astype(np.float32)

        directions = []
        for _ in range(1 + case.bidirectional):
            b = random.normal(0, 0.1, 4 * units).astype(np.float32)
            b[2 * units : 3 * units] += 1
            directions.append(Direction(draw(width, 4 * units), draw(units, 4 * units), b))
        layers.append(directions)
        width = units * (1 + case.bidirectional)
    x = random.standard_normal((max(case.steps, 1), case.batch, case.input_size), np.float32)
    lengths = None
    if case.ragged:
        lengths = np.linspace(1, case.steps, case.batch).round().astype(np.int64)
        random.shuffle(lengths)
    return Inputs(x, lengths, layers)


@dataclass(frozen=True)
class Ceilings:
    """What the machine can do with so many threads: GFLOP/s, and GB/s by a thread's KiB."""

    gflops: float
    bandwidth: dict[int, float]

    def gigabytes_per_second(self, size: float) -> float:
        """Of all threads when each reads ``size`` bytes, between the sizes measured."""
        sizes = sorted(self.bandwidth)
        logs = np.log([kib * 1024 for kib in sizes])
        return float(np.interp(np.log(max(size, 1)), logs, [self.bandwidth[k] for k in sizes]))


def floor(case: Case, ceilings: Ceilings, threads: int) -> float:
    """Seconds below which no engine gets on such a machine, float32.

    A step: its multiply-adds at peak, or its weights read once. A sequence: the input projection
    of all steps at once, then for each step the recurrent part. Activations, calls and waiting are
    not in it.
    """
    seconds = 0.0
    width, units = case.input_size, case.num_units
    directions = 1 + case.bidirectional
    row_steps = case.batch * max(case.steps, 1)
    if case.ragged:
        lengths = make_inputs(case).lengths
        assert lengths is not None
        row_steps = int(lengths.sum())

    def longer(multiply_adds: float, weights: float, reads: int) -> float:
        size = 4 * weights
        bandwidth = ceilings.gigabytes_per_second(size / threads)
        return max(2 * multiply_adds / ceilings.gflops, reads * size / bandwidth) / 1e9

    for _ in range(case.layers):
        project, recur = 4 * width * units, 4 * units * units
        if case.is_step:
            seconds += directions * longer(row_steps * (project + recur), project + recur, reads=1)
        else:
            seconds += directions * longer(row_steps * project, project, reads=1)
            seconds += directions * longer(row_steps * recur, recur, reads=case.steps)
        width = units * directions
    return seconds


Run = Callable[[int], None]


@dataclass
class Variant:
    """One way in which an engine computes a case.

    ``run(n)`` does it n times; ``output()`` is then the last one's: y [T, B, directions * H], or h
    [B, H] after all steps since the variant was made.
    """

    run: Run
    output: Callable[[], Array]
