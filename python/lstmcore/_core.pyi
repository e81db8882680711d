"""The native module; private. Arrays must match exactly in dtype, shape and layout; no copies."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__version__: Final[str]

Array = NDArray[Any]

class Lstm:
    def __init__(
        self,
        kernel: Array,
        bias: Array,
        *,
        num_units: int,
        w_i_diag: Array | None = None,
        w_f_diag: Array | None = None,
        w_o_diag: Array | None = None,
        proj_kernel: Array | None = None,
        forget_bias: float = 1.0,
        cell_clip: float | None = None,
        proj_clip: float | None = None,
        activation: str = "tanh",
    ) -> None: ...
    @property
    def input_size(self) -> int: ...
    @property
    def num_units(self) -> int: ...
    @property
    def output_size(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def isa(self) -> str: ...
    @property
    def packed_bytes(self) -> int: ...
    def step(self, x: Array, c: Array, h: Array) -> tuple[Array, Array]: ...
    def forward(
        self,
        x: Array,
        c0: Array | None = None,
        h0: Array | None = None,
        lengths: NDArray[np.int64] | None = None,
        *,
        time_major: bool = False,
        reverse: bool = False,
        out: Array | None = None,
        c_out: Array | None = None,
        threads: int = 0,
    ) -> tuple[Array, Array, Array]: ...
    def forward_gates(
        self, x: Array, c0: Array, h0: Array, steps: int
    ) -> tuple[Array, Array, Array, Array, Array, Array, Array]: ...

def fused_activations() -> list[str]: ...
def activate(name: str, x: Array) -> Array: ...
def crc32c(buffer: Any, crc: int = 0) -> int: ...
def info() -> dict[str, Any]: ...
def set_num_threads(threads: int) -> None: ...
def get_num_threads() -> int: ...
