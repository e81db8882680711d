"""The native module; private. Arrays must match exactly in dtype, shape and layout; no copies."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

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
        recurrent_activation: str = "sigmoid",
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
    def step(
        self,
        x: Array,
        c: Array,
        h: Array,
        *,
        out: Array | None = None,
        state_out: Array | None = None,
    ) -> tuple[Array, Array]: ...
    def cell_step(
        self,
        x: Array,
        state: tuple[Array, Array],
        state_type: type[_State],
        out: tuple[Array, Array] | None = None,
    ) -> tuple[Array, _State]: ...
    def forward(
        self,
        x: Array,
        c0: Array | None = None,
        h0: Array | None = None,
        lengths: NDArray[np.int64] | None = None,
        *,
        time_major: bool = False,
        reverse: bool = False,
        offsets: NDArray[np.int64] | None = None,
        out: Array | None = None,
        c_out: Array | None = None,
        threads: int | None = None,
    ) -> tuple[Array, Array, Array]: ...
    def forward_gates(
        self, x: Array, c0: Array, h0: Array, steps: int
    ) -> tuple[Array, Array, Array, Array, Array, Array, Array]: ...

def forward_bidirectional(
    fw: tuple[Lstm, Array | None, Array | None],
    bw: tuple[Lstm, Array | None, Array | None],
    x: Array,
    *,
    lengths: NDArray[np.int64] | None = None,
    time_major: bool = False,
    threads: int | None = None,
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]: ...

class Stack:
    def __init__(self, layers: Sequence[tuple[Lstm | None, Lstm | None]]) -> None: ...
    def forward(
        self,
        x: Array,
        states: Sequence[tuple[Array, Array]] = (),
        *,
        lengths: NDArray[np.int64] | None = None,
        offsets: NDArray[np.int64] | None = None,
        time_major: bool = False,
        out: Array | None = None,
        c_out: Array | None = None,
        keep_outputs: bool = True,
        threads: int | None = None,
    ) -> tuple[Array | None, list[tuple[Array, Array]]]: ...

_Self = TypeVar("_Self", bound="Stream")
_State = TypeVar("_State", bound="tuple[Array, Array]")

class Stream:
    def __new__(cls: type[_Self], layers: Sequence[Lstm], rows: int, batched: bool) -> _Self: ...
    @property
    def steps(self) -> int: ...
    def step(self, x: Array, *, threads: int | None = None) -> Array: ...
    def step_into(self, x: Array, out: Array, *, threads: int | None = None) -> None: ...
    def push(self, chunk: Array, *, threads: int | None = None) -> Array: ...
    def _read_state(self) -> Array: ...
    def _write_state(self, values: Array, steps: int) -> None: ...
    def trim(self) -> int: ...
    def _copy(self: _Self) -> _Self: ...

class StreamBank:
    def __init__(self, layers: Sequence[Lstm], capacity: int = 0) -> None: ...
    def join(self, state: Array | None = None) -> int: ...
    def leave(self, id: int) -> None: ...
    def ids(self) -> list[int]: ...
    def state(self, id: int) -> Array: ...
    def set_state(self, id: int, state: Array) -> None: ...
    def step(self, x: Array, ids: NDArray[np.int64] | None = None) -> Array: ...
    def step_into(self, x: Array, out: Array, ids: NDArray[np.int64] | None = None) -> None: ...
    def trim(self) -> int: ...

class CudaLibrary:
    def __init__(self, file: str) -> None: ...
    def device_count(self) -> int: ...
    def device(self, index: int) -> dict[str, Any]: ...
    def device_of(self, address: int) -> int: ...

class DeviceArray:
    def __init__(
        self, library: CudaLibrary, device: int, shape: Sequence[int], dtype: int, stream: int
    ) -> None: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def dtype_name(self) -> str: ...
    @property
    def device(self) -> int: ...
    @property
    def stream(self) -> int: ...
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...
    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> DeviceArray: ...
    def _write(self, host: Array) -> None: ...
    def _read(self, host: Array) -> None: ...

class CudaContext:
    def __init__(self, library: CudaLibrary, device: int, cublas: str | None) -> None: ...
    @property
    def device(self) -> int: ...
    def synchronize(self, stream: int) -> None: ...

class CudaLayer:
    def __init__(
        self, context: CudaContext, spec: dict[str, Any], weights: dict[str, Array]
    ) -> None: ...
    def forward(
        self,
        x: Any,
        y: Any,
        y_column: int,
        c_seq: Any,
        c_column: int,
        c0: Any,
        h0: Any,
        c_n: Any,
        h_n: Any,
        lengths: Sequence[int] | None,
        time_major: bool,
        reverse: bool,
        path: int,
        stream: int,
        names: tuple[str, ...],
    ) -> None: ...
    def plan(self, steps: int, batch: int, path: int = 0) -> dict[str, Any]: ...

def cuda_add(
    to: Any,
    to_column: int,
    a: Any,
    a_column: int,
    b: Any,
    width: int,
    lengths: Sequence[int] | None,
    time_major: bool,
    library: CudaLibrary,
    device: int,
    stream: int,
    names: tuple[str, str, str],
) -> None: ...
def cuda_copy_columns(
    to: Any,
    column: int,
    source: Any,
    library: CudaLibrary,
    device: int,
    stream: int,
    to_name: str = "out",
    source_name: str = "array",
) -> None: ...
def cuda_dtype(array: Any, library: CudaLibrary, device: int, stream: int, name: str) -> int: ...
def cuda_pad(
    packed: Any,
    offsets: Sequence[int],
    library: CudaLibrary,
    device: int,
    stream: int,
    name: str,
) -> DeviceArray: ...
def cuda_check_apart(
    out: Any,
    others: Sequence[Any],
    names: Sequence[str],
    library: CudaLibrary,
    device: int,
    stream: int,
) -> None: ...
def cuda_read_integers(
    array: Any, library: CudaLibrary, device: int, stream: int, name: str
) -> NDArray[np.int64]: ...
def cuda_unpad(
    padded: DeviceArray,
    offsets: Sequence[int],
    packed: Any,
    library: CudaLibrary,
    stream: int,
    name: str,
) -> None: ...
def fused_activations() -> list[str]: ...
def activate(name: str, x: Array) -> Array: ...
def crc32c(buffer: Any, crc: int = 0) -> int: ...
def info() -> dict[str, Any]: ...
def checked_threads(threads: Any) -> int: ...
def workspace_bytes() -> int: ...
def trim() -> int: ...
def set_num_threads(threads: int) -> None: ...
def get_num_threads() -> int: ...
def num_threads_of_this_thread() -> int: ...
def exchange_num_threads_of_this_thread(threads: int) -> int: ...
def num_threads_reason() -> str: ...
