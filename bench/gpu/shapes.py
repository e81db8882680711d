"""The shapes that are measured, what physics allows for them, and what we aim at.

The floor of a call on an H100, per time step: the products of the recurrent weights at the full
rate of the chip, or reading what of them does not fit on chip from L2; one exchange of h; one
dependent pair of activations. Once per call: the product of all inputs, at the full rate or at the
bandwidth of memory.
"""

from __future__ import annotations

from dataclasses import dataclass

MODES = ("float32", "tf32", "float16", "bfloat16")  # float32: every product in IEEE arithmetic

# Measured on an H100: dense products of random matrices, copies. IEEE float32 by multiply-adds.
FLOPS = {"float16": 798e12, "bfloat16": 798e12, "tf32": 399e12, "float32": 60e12}
MEMORY, L2 = 3.0e12, 5.5e12  # bytes per second
ON_CHIP = 48.6e6  # bytes of weights in registers and shared memory
CLUSTER_EXCHANGE, L2_EXCHANGE, CELL = 0.11e-6, 0.16e-6, 0.10e-6  # seconds


@dataclass(frozen=True)
class Shape:
    """``in_cluster``: whether one cluster, rather than the whole grid, holds the weights.
    ``target``: microseconds per mode (float16 as bfloat16)."""

    T: int
    N: int
    I: int
    H: int
    in_cluster: bool
    target: tuple[float, float, float]  # float32, tf32, bfloat16

    @property
    def name(self) -> str:
        return f"T{self.T} N{self.N} I{self.I} H{self.H}"

    def target_us(self, mode: str) -> float:
        return self.target[{"float32": 0, "tf32": 1}.get(mode, 2)]


SHAPES = (
    Shape(100, 1, 256, 256, True, (70, 70, 69)),
    Shape(100, 1, 512, 512, True, (100, 98, 97)),
    Shape(100, 1, 1024, 1024, False, (130, 121, 117)),
    Shape(100, 32, 512, 512, True, (379, 137, 101)),
    Shape(100, 64, 1024, 1024, False, (2370, 426, 261)),
    Shape(50, 256, 1024, 1024, False, (4590, 713, 381)),
    Shape(50, 64, 2048, 2048, False, (4590, 713, 381)),
    Shape(1000, 1, 40, 256, True, (650, 650, 650)),
)


def floor_us(shape: Shape, mode: str) -> float:
    """Microseconds that no implementation on an H100 can beat by much."""
    size = 4 if mode in ("float32", "tf32") else 2
    # One row leaves tensor cores idle.
    rate = FLOPS["float32"] if shape.N == 1 else FLOPS[mode]
    recurrent = 4 * shape.H**2
    products = 2 * recurrent * shape.N / rate
    from_l2 = max(0.0, recurrent * size - ON_CHIP) / L2
    exchange = CLUSTER_EXCHANGE if shape.in_cluster else L2_EXCHANGE
    rows = shape.T * shape.N
    flops = 8 * rows * shape.I * shape.H
    moved = rows * shape.I * size + 4 * shape.I * shape.H * size + 16 * rows * shape.H
    inputs = max(flops / FLOPS[mode], moved / MEMORY)
    return 1e6 * (shape.T * (max(products, from_l2) + exchange + CELL) + inputs)


def goal(shape: Shape, mode: str) -> float:
    """How many times as long cuDNN is to take at least."""
    if shape.T == 1000:
        return 6.0
    if shape.N == 1:
        return 4.0 if mode == "float32" else 5.0
    table = {
        (32, 512): {"bfloat16": 4.0, "float16": 1.3, "tf32": 3.0, "float32": 1.5},
        (64, 1024): {"bfloat16": 2.0, "float16": 1.1, "tf32": 2.0, "float32": 1.0},
    }
    return table.get((shape.N, shape.H), {"float32": 1.0}).get(mode, 1.2)
