"""One LSTM layer of the CUDA library, its calls, and what they should give."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from abi import DTYPES, PATHS, ROOT, STRUCTURES, Array, Library, rounded

sys.path.insert(0, str(ROOT / "tests"))
import reference

# Of ||y - reference|| / ||reference||, by dtype and math.
TOLERANCES = {
    "float32": 2e-6,
    "tf32": 2e-3,
    "tf32x3": 5e-6,
    "float16": 3e-3,
    "bfloat16": 1.5e-2,
    "float64": 1e-12,
}
# lstmcore::Activation, in the order of include/lstmcore/activation.h.
TANH, SIGMOID = 0, 1
MATHS = ("ieee", "tf32", "tf32x3")  # the order of lstmcore_cuda_math
KERNELS = ("auto", "fma", "mma")  # of lstmcore_cuda_kernel


def dtype_and_math(mode: str) -> tuple[str, str]:
    return ("float32", mode) if mode in MATHS else (mode, "ieee")


@dataclass(frozen=True)
class Options:
    """Of a layer and its calls; sizes T, N, I, H are with the arrays."""

    peepholes: bool = False
    cell_clip: float | None = None
    num_proj: int = 0
    proj_clip: float | None = None
    forget_bias: float = 0.75
    lengths: bool = False
    state: bool = False
    reverse: bool = False


def random_cell(inputs: int, units: int, options: Options, dtype: str, seed: int) -> Any:
    """Weights as ``dtype`` holds them; biases and peepholes, which stay wide, as float32 does."""
    rng = np.random.default_rng(seed)
    outputs = options.num_proj or units
    wide = "float64" if dtype == "float64" else "float32"

    def normal(*shape: int, scale: float, kind: str = wide) -> np.ndarray:
        return rounded(rng.normal(size=shape) * scale, kind)

    kernel = normal(inputs + outputs, 4 * units, scale=(inputs + outputs) ** -0.5, kind=dtype)
    diagonals = [normal(units, scale=0.3) if options.peepholes else None for _ in range(3)]
    projection = normal(units, outputs, scale=units**-0.5, kind=dtype) if options.num_proj else None
    return reference.Cell(
        kernel, normal(4 * units, scale=0.3), *diagonals, projection,
        options.forget_bias, options.cell_clip, options.proj_clip,
    )  # fmt: skip


class Layer:
    """On the device, in one dtype; ``kernel`` and ``rows`` of a group as the planner chooses."""

    def __init__(
        self,
        library: Library,
        cell: Any,
        dtype: str,
        math: str = "ieee",
        kernel: str = "auto",
        rows: int = 0,
    ) -> None:
        self.library, self.cell, self.dtype = library, cell, dtype
        self.wide = "float64" if dtype == "float64" else "float32"
        spec = STRUCTURES["lstmcore_cuda_spec"]()
        spec.input_size, spec.num_units = cell.input_size, cell.num_units
        spec.num_proj = 0 if cell.proj_kernel is None else cell.output_size
        spec.peepholes = cell.w_i_diag is not None
        spec.forget_bias = cell.forget_bias
        for name in ("cell_clip", "proj_clip"):
            limit = getattr(cell, name)
            setattr(spec, f"has_{name}", limit is not None)
            setattr(spec, name, limit or 0.0)
        spec.activation, spec.recurrent_activation = TANH, SIGMOID
        spec.dtype = DTYPES.index(dtype)
        spec.math, spec.kernel = MATHS.index(math), KERNELS.index(kernel)
        spec.rows_per_group = rows
        self.spec = spec
        W, R = np.split(cell.kernel, [cell.input_size])
        parts = {
            "W": W, "R": R, "b": cell.bias, "p_i": cell.w_i_diag, "p_f": cell.w_f_diag,
            "p_o": cell.w_o_diag, "projection": cell.proj_kernel,
        }  # fmt: skip
        kept = {k: np.ascontiguousarray(v, np.float64) for k, v in parts.items() if v is not None}
        weights = STRUCTURES["lstmcore_cuda_weights"](**{k: v.ctypes.data for k, v in kept.items()})
        self.handle = ctypes.c_void_p()
        library.call(
            "create_layer", library.context, ctypes.byref(spec), ctypes.byref(weights),
            ctypes.byref(self.handle),
        )  # fmt: skip

    def close(self) -> None:
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.library._api.destroy_layer)(self.handle)

    def plan(self, steps: int, batch: int, path: str = "auto") -> dict[str, Any] | None:
        """What the planner chooses; None where this path cannot run it."""
        plan = STRUCTURES["lstmcore_cuda_plan"]()
        sizes = ctypes.c_int64(steps), ctypes.c_int64(batch), ctypes.c_int(PATHS.index(path))
        device = ctypes.byref(self.library.device)
        try:
            self.library.call("plan", device, ctypes.byref(self.spec), *sizes, ctypes.byref(plan))
        except RuntimeError as error:
            if "status 1:" in str(error):
                return None
            raise
        values = {name: getattr(plan, name) for name, *_ in plan._fields_}
        return {**values, "path": PATHS[plan.path], "kernel": KERNELS[plan.kernel]}

    def call(self, x: Array, options: Options | None = None, path: str = "auto") -> Call:
        return Call(self, x, options or Options(), path)


class Call:
    """One call's arrays, poisoned, and its arguments; ``run`` enqueues it."""

    def __init__(self, layer: Layer, x: Array, options: Options, path: str) -> None:
        self.layer, self.x = layer, x
        steps, batch, _ = x.shape
        units, outputs = layer.cell.num_units, layer.cell.output_size
        rng = np.random.default_rng(99)
        library, dtype, wide = layer.library, layer.dtype, layer.wide
        self.y = Array(library, (steps, batch, outputs), dtype).write(np.float64(7))
        self.c_n = Array(library, (batch, units), wide).write(np.float64(7))
        self.h_n = Array(library, (batch, outputs), dtype).write(np.float64(7))
        self.c0 = self.h0 = self.lengths = None
        args = STRUCTURES["lstmcore_cuda_forward"]()
        args.steps, args.batch = steps, batch
        args.x, args.y = x.sequence(), self.y.sequence()
        args.c_n, args.h_n = self.c_n.pointer, self.h_n.pointer
        args.reverse, args.path = options.reverse, PATHS.index(path)
        if options.state:
            self.c0 = Array(library, (batch, units), wide).write(rng.normal(size=(batch, units)))
            self.h0 = Array(library, (batch, outputs), dtype)
            self.h0.write(rng.normal(size=(batch, outputs)) / 3)
            args.c0, args.h0 = self.c0.pointer, self.h0.pointer
        if options.lengths:
            self.lengths = rng.integers(0, steps + 1, batch).astype(np.int64)
            args.lengths = self.lengths.ctypes.data
        self.args, self.reverse = args, options.reverse

    def run(self, stream: int = 0) -> None:
        self.args.stream = stream
        self.layer.library.call("forward", self.layer.handle, ctypes.byref(self.args))

    def outputs(self) -> list[Array]:
        return [self.y, self.c_n, self.h_n]

    def expected(self) -> list[np.ndarray]:
        """Of y, c_n and h_n, in float64, from the inputs as the device has them."""
        x = self.x.read().transpose(1, 0, 2)
        state = [None if a is None else a.read() for a in (self.c0, self.h0)]
        result = reference.forward(self.layer.cell, x, *state, self.lengths, reverse=self.reverse)
        return [result.y.transpose(1, 0, 2), result.c, result.h]

    def errors(self, expected: list[np.ndarray] | None = None) -> list[float]:
        """||got - want|| / ||want|| of each output."""
        pairs = zip(self.outputs(), expected or self.expected(), strict=True)
        return [
            float(np.linalg.norm(got.read() - want) / max(np.linalg.norm(want), 1e-30))
            for got, want in pairs
        ]
