"""Where a cell or a model computes: the CPU, or a GPU, in which dtype and arithmetic.

Nothing of CUDA is imported for the CPU.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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
