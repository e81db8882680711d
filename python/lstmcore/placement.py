"""Where a cell or a model computes: the CPU, or a GPU, in which dtype and arithmetic.

Nothing of CUDA is imported for the CPU.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lstmcore import nest

MATHS = ("ieee", "tf32", "tf32x3")


class Placement(NamedTuple):
    """Which GPU, and how: ``dtype`` of weights, inputs and outputs there (None: the weights' own),
    and ``math`` of float32 products."""

    ordinal: int
    dtype: str | None
    math: str

    @property
    def device(self) -> str:
        return f"cuda:{self.ordinal}"

    def as_arguments(self) -> dict[str, Any]:
        """The constructor's arguments that say this."""
        given: dict[str, Any] = {"device": self.device}
        if self.dtype is not None:
            given["device_dtype"] = self.dtype
        if self.math != "ieee":
            given["math"] = self.math
        return given


def placement(
    device: Any, dtype: Any, math: Any, dtype_name: str = "device_dtype"
) -> Placement | None:
    """Of these arguments; None for the CPU, which ``device`` None stands for, too.

    "auto" takes any ``dtype`` and ``math``, for one program where there is a GPU and where there is
    none; "cpu" takes none, as they would change nothing. Raises ValueError for that and for other
    names, RuntimeError with the reason where the GPU cannot be used.
    """
    on_cpu = device is None or (isinstance(device, str) and device == "cpu")
    if on_cpu and dtype is None and isinstance(math, str) and math == "ieee":
        return None
    from lstmcore import cuda

    if dtype is not None and dtype not in cuda.DTYPES:
        raise ValueError(f"{dtype_name}: expected one of {', '.join(cuda.DTYPES)}, got {dtype!r}")
    if math not in MATHS:
        raise ValueError(f"math: expected one of {', '.join(MATHS)}, got {math!r}")
    if on_cpu:
        name, value = ("math", math) if dtype is None else (dtype_name, dtype)
        raise ValueError(
            f"{name}: {value!r} is for a GPU, expected device='cuda', 'cuda:N' or 'auto' with it, "
            f"got device={device!r}"
        )
    index = cuda.device_index(device)
    return None if index is None else Placement(index, dtype, math)


def own_placement(cell: Any) -> Placement | None:
    """The GPU that a cell computes on; None for the CPU, and of an object that is no RNNCell."""
    where: Placement | None = getattr(cell, "_placement", None)
    return where


def call_placement(cell: Any, device: Any, dtype: Any, math: Any) -> Placement | None:
    """Of a call of a sequence function with these arguments; without a device, the cell's own.

    A cell whose time loop is not native computes where its own steps do: "auto" is that device,
    another one a TypeError. Raises as ``placement``.
    """
    own = own_placement(cell)
    if device is None and dtype is None and math == "ieee":
        return own
    where = placement(device, dtype, math)
    if where != own and not getattr(cell, "_native_sequence", False):
        if device == "auto":
            return own
        raise TypeError(
            f"device: expected a cell whose time loop is native for device={device!r}, got {cell}, "
            "which is called step by step"
        )
    return where


def name_of(where: Placement | None) -> str:
    return "cpu" if where is None else where.device


def stand_ins(structure: Any, where: Placement | None) -> Any:
    """On a GPU, with stand-ins for the arrays there (``gpu.stand_in``)."""
    if where is None:
        return structure
    from lstmcore.gpu import stand_in

    return nest.map_structure(stand_in, structure)
