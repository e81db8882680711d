"""A GPU as a cell or a model uses it, and the arrays on the way there and back.

What is said of arrays "on the device" here holds for all with ``__cuda_array_interface__`` or
``__dlpack__``: torch's, CuPy's, JAX's, lstmcore's own. This module is imported when a device is
first asked for.
"""

from __future__ import annotations

import operator
import sys
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmcore import _core, cuda, nest, shared_state
from lstmcore.arrays import Array
from lstmcore.cuda import DeviceArray
from lstmcore.placement import MATHS, Placement

PATHS = ("auto", "stepwise", "block", "cluster", "grid")
KERNELS = (None, "fma", "mma")  # of a persistent path: plain arithmetic, or tensor cores
_DLPACK_CUDA = (2, 13)  # kDLCUDA, kDLCUDAManaged
_contexts: weakref.WeakValueDictionary[tuple[Any, ...], _core.CudaContext] = (
    weakref.WeakValueDictionary()
)


def path_number(name: Any) -> int:
    if name not in PATHS:
        raise ValueError(f"path: expected one of {', '.join(PATHS)}, got {name!r}")
    return PATHS.index(name)


class Gpu:
    """A device with the dtype of one cell or model on it, and cuBLAS and scratch memory.

    ``shared``: with all others that share; their calls follow one another on the device. Raises
    RuntimeError with the reason where it cannot be used, MemoryError.
    """

    def __init__(self, where: Placement, own_dtype: str, *, shared: bool) -> None:
        self.index, self.math = where.ordinal, where.math
        self.dtype = where.dtype or own_dtype
        self.library = cuda.library()
        self.context = _shared_context(self.library, self.index) if shared else self._new_context()

    def _new_context(self) -> _core.CudaContext:
        return _core.CudaContext(self.library, self.index, cuda.cublas_file())

    @property
    def wide(self) -> str:
        """The dtype of cell states."""
        return "float64" if self.dtype == "float64" else "float32"

    def layer(self, spec: dict[str, Any], weights: dict[str, Array]) -> _core.CudaLayer:
        """Packs and uploads weights: W, R, b, and what else the spec (of ``CellSpec``) asks for."""
        numbers = {"dtype": cuda.DTYPES.index(self.dtype), "math": MATHS.index(self.math)}
        return _core.CudaLayer(self.context, {**spec, **numbers}, weights)

    def empty(self, shape: Sequence[int], stream: int, dtype: str | None = None) -> DeviceArray:
        kind = cuda.DTYPES.index(dtype or self.dtype)
        return DeviceArray(self.library, self.index, list(shape), kind, stream)

    def upload(self, host: Array, stream: int, dtype: str | None = None) -> DeviceArray:
        return cuda.asarray(host, dtype or self.dtype, self.index, stream)

    def to_host(self, array: DeviceArray, dtype: Any) -> Array:
        """A copy, after all that was enqueued; raises RuntimeError if a kernel failed."""
        self.context.synchronize(array.stream)
        return cuda.asnumpy(array, dtype)

    def copy_columns(
        self, to: Any, column: int, source: Any, stream: int, to_name: str = "out"
    ) -> None:
        """``to[..., column:column + width] = source``"""
        _core.cuda_copy_columns(to, column, source, self.library, self.index, stream, to_name)

    def check_apart(self, out: Any, others: dict[str, Any], stream: int) -> None:
        """Raises ValueError where ``out`` shares memory with one of these, by their names."""
        names, arrays = list(others), list(others.values())
        _core.cuda_check_apart(out, arrays, names, self.library, self.index, stream)

    def pad(self, packed: Any, offsets: list[int], stream: int, name: str) -> DeviceArray:
        """[total, I] as [N, T, I], with zeros behind each row."""
        return _core.cuda_pad(packed, offsets, self.library, self.index, stream, name)

    def unpad(self, padded: DeviceArray, offsets: list[int], stream: int, out: Any = None) -> Any:
        """The way back; into ``out`` where there is one."""
        if out is None:
            out = self.empty((offsets[-1], padded.shape[2]), stream, padded.dtype_name)
        _core.cuda_unpad(padded, offsets, out, self.library, stream, "out")
        return out


def _shared_context(library: _core.CudaLibrary, index: int) -> _core.CudaContext:
    key = (cuda.library_file(), index)
    with shared_state.lock:
        context = _contexts.get(key)
        if context is None:
            context = _contexts[key] = _core.CudaContext(library, index, cuda.cublas_file())
        return context


def is_on_device(value: Any) -> bool:
    if isinstance(value, (np.ndarray, np.generic)):
        return False
    if isinstance(value, DeviceArray):
        return True
    where = getattr(value, "__dlpack_device__", None)
    if where is not None:
        return int(where()[0]) in _DLPACK_CUDA
    return hasattr(value, "__cuda_array_interface__")


def any_on_device(structure: Any) -> bool:
    return any(is_on_device(leaf) for leaf in nest.flatten(structure))


def shape_of(array: Any) -> tuple[int, ...]:
    found = getattr(array, "shape", None)
    return tuple(array.__cuda_array_interface__["shape"] if found is None else found)


def stand_in(value: Any, dtype: Any = None) -> Any:
    """For what is on the device, an array of its shape that takes no memory; others as they are.

    ``dtype`` None: that of the variables of a cell which is called with such an array.
    """
    if not is_on_device(value):
        return value
    name = str(getattr(value, "dtype_name", None) or getattr(value, "dtype", ""))
    kind = dtype or (np.float64 if name.endswith("float64") else np.float32)
    return np.broadcast_to(np.zeros((), kind), shape_of(value))


def stream_of(x: Any) -> int:
    """The stream that x's library works on now, where it says so; else the default stream."""
    if isinstance(x, DeviceArray):
        return x.stream
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        return int(torch.cuda.current_stream(x.device).cuda_stream)
    try:
        stream = x.__cuda_array_interface__.get("stream")
    except Exception:  # it has none, or, in bfloat16 say, will not tell
        return 0
    return int(stream) if stream is not None and stream > 1 else 0


def stream_number(stream: Any) -> int:
    """A stream that a caller named. Raises TypeError for what is none."""
    try:
        number = -1 if isinstance(stream, bool) else operator.index(stream)
    except TypeError:
        number = -1
    if not 0 <= number < 2**64:
        raise TypeError(f"stream: expected a CUDA stream as an integer, got {stream!r}")
    return number


def integers_of(value: Any, name: str) -> Any:
    """An int64 array on the host, of a vector of integers on a GPU; waits for it. Others as they
    are.
    """
    if not is_on_device(value):
        return value
    return _core.cuda_read_integers(value, cuda.library(), device_of(value), stream_of(value), name)


def device_of(value: Any) -> int:
    """The index of the GPU that an array is on."""
    if isinstance(value, DeviceArray):
        return value.device
    if hasattr(value, "__dlpack_device__"):
        return int(value.__dlpack_device__()[1])
    return cuda.library().device_of(value.__cuda_array_interface__["data"][0])


def stacked(arrays: Sequence[Any]) -> DeviceArray:
    """Arrays on the device of one shape [N, I] as one, [T, N, I], on the stream of the first."""
    first, stream, library = arrays[0], stream_of(arrays[0]), cuda.library()
    device, kind = (
        device_of(first),
        _core.cuda_dtype(first, library, device_of(first), stream, "inputs"),
    )
    result = DeviceArray(library, device, [len(arrays), *shape_of(first)], kind, stream)
    for step, array in enumerate(arrays):
        _core.cuda_copy_columns(result[step], 0, array, library, device, stream, "inputs", "inputs")
    return result


def columns(
    array: Any, start: int, width: int, stream: int, name: str, dtype: str | None = None
) -> DeviceArray:
    """``array[:, start : start + width]`` of an array [N, any] on the device, a copy.

    ``dtype``: what it is converted to; None: its own. Raises TypeError and ValueError with the
    array's ``name``.
    """
    library, device = cuda.library(), device_of(array)
    kind = (
        _core.cuda_dtype(array, library, device, stream, name)
        if dtype is None
        else cuda.DTYPES.index(dtype)
    )
    part = DeviceArray(library, device, [shape_of(array)[0], width], kind, stream)
    _add(part, 0, array, start, None, width, names=("part", name, ""))
    return part


def add(
    inputs: Any,
    outputs: DeviceArray,
    to: DeviceArray | None = None,
    lengths: Array | None = None,
    *,
    time_major: bool = False,
) -> DeviceArray:
    """``inputs + outputs`` of one shape and dtype, in ``to`` or a new array.

    Only the steps within ``lengths``, where there are some: what is past them stays as it is.
    """
    if to is None:
        kind = cuda.DTYPES.index(outputs.dtype_name)
        to = DeviceArray(cuda.library(), outputs.device, outputs.shape, kind, outputs.stream)
    given = None if lengths is None else lengths.tolist()
    _add(to, 0, inputs, 0, outputs, outputs.shape[-1], given, time_major)
    return to


def _add(
    to: DeviceArray,
    to_column: int,
    a: Any,
    a_column: int,
    b: Any,
    width: int,
    lengths: list[int] | None = None,
    time_major: bool = False,
    names: tuple[str, str, str] = ("outputs", "inputs", "outputs"),
) -> None:
    """``_core.cuda_add`` where ``to`` is."""
    _core.cuda_add(
        to,
        to_column,
        a,
        a_column,
        b,
        width,
        lengths,
        time_major,
        cuda.library(),
        to.device,
        to.stream,
        names,
    )


def side_by_side(arrays: Sequence[Any]) -> Any:
    """Joined on the last axis: on the host, or lstmcore's own on their device.

    There the result has the dtype of the first.
    """
    if not isinstance(arrays[0], DeviceArray):
        return np.concatenate(arrays, axis=-1)
    first = arrays[0]
    widths = [array.shape[-1] for array in arrays]
    kind = cuda.DTYPES.index(first.dtype_name)
    shape = [*first.shape[:-1], sum(widths)]
    result = DeviceArray(cuda.library(), first.device, shape, kind, first.stream)
    for column, array, width in zip(np.cumsum([0, *widths]), arrays, widths, strict=False):
        if array.dtype_name != first.dtype_name:
            _add(result, int(column), array, 0, None, width)
            continue
        _core.cuda_copy_columns(
            result, int(column), array, cuda.library(), first.device, first.stream
        )
    return result
