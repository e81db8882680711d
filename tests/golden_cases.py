"""What the golden files hold: the cases, and the exact inputs and weights each one runs on.

``make_golden.py`` runs these cases under TensorFlow, ``test_golden.py`` under lstmcore. Inputs are
not stored: :func:`draw` makes them from a name, the same on every machine and NumPy version, as
multiples of a power of two that float32 holds exactly.
"""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

import reference

STEPS, ROWS, INPUTS, UNITS, PROJECTED = 40, 64, 11, 19, 7
# Of the 40 steps and 64 rows only these are stored; the error over all of them is stored as one
# number.
STORED_STEPS = {"float32": (0, 39), "float64": (39,)}
STORED_ROWS = 2

_ACTIVATIONS = ("tanh", "relu", "sigmoid", "softsign", "linear", "hard_sigmoid")
_MORE_ACTIVATIONS = ("relu6", "leaky_relu", "elu", "selu", "exponential", "silu", "softplus")


def draw(name: str, shape: tuple[int, ...], scale: float, dtype: Any) -> np.ndarray:
    """Values in [-scale, scale) that depend on ``name`` only; ``scale`` is a power of two.

    The raw output of a NumPy bit generator is fixed for good, unlike the distributions made from
    it. The top 24 bits of each word make an integer that both dtypes represent exactly.
    """
    words = np.random.PCG64(zlib.crc32(name.encode())).random_raw(int(np.prod(shape, dtype=int)))
    integers = (words >> np.uint64(40)).astype(np.int64) - (1 << 23)
    return (integers * (scale / (1 << 23))).reshape(shape).astype(dtype)


def weight(case: str, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """The value of variable ``name`` in ``case``.

    Small enough that states contract, as in trained cells. Where peepholes make c feed on itself,
    some rows come near a tipping point, and the largest error tells which rounding met it, not how
    large roundings are.
    """
    scale = 0.125 if len(shape) == 2 else 0.25 if "diag" in name or name.startswith("wc") else 0.5
    return draw(f"{case}/{name}", shape, scale, dtype)


@dataclass(frozen=True)
class CellCase:
    """One cell with its options, run for 40 steps from a non-zero state."""

    class_name: str
    dtype: str
    activation: str
    forget_bias: float
    use_peepholes: bool = False
    cell_clip: float | None = None
    num_proj: int | None = None
    proj_clip: float | None = None

    @property
    def name(self) -> str:
        parts = [self.class_name, self.dtype, self.activation, f"forget_bias={self.forget_bias}"]
        parts += ["peepholes"] if self.use_peepholes else []
        parts += [f"cell_clip={self.cell_clip}"] if self.cell_clip is not None else []
        parts += [f"proj={self.num_proj}"] if self.num_proj is not None else []
        parts += [f"proj_clip={self.proj_clip}"] if self.proj_clip is not None else []
        return "-".join(parts)

    @property
    def output_size(self) -> int:
        return UNITS if self.num_proj is None else self.num_proj

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments of the cell class, in TensorFlow and in lstmcore."""
        common = {
            "num_units": UNITS,
            "forget_bias": self.forget_bias,
            "activation": self.activation,
        }
        if self.class_name == "BasicLSTMCell":
            return common
        return common | {
            "use_peepholes": self.use_peepholes,
            "cell_clip": self.cell_clip,
            "num_proj": self.num_proj,
            "proj_clip": self.proj_clip,
        }

    def inputs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x [N, T, I], c [N, H], h [N, P], the same for all cases of one dtype and width."""
        x = draw("cells/x", (ROWS, STEPS, INPUTS), 4.0, self.dtype)
        c = draw("cells/c", (ROWS, UNITS), 1.0, self.dtype)
        h = draw(f"cells/h{self.output_size}", (ROWS, self.output_size), 0.5, self.dtype)
        return x, c, h

    def value(self, variable_name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Value for the variable called ``<scope>/kernel:0`` and so on."""
        return weight("cells", variable_role(variable_name), shape, self.dtype)

    def exact(self) -> reference.Sequence:
        """The 40 steps in float64, from the same weights and inputs."""
        diags = {}
        if self.use_peepholes:
            names = ("w_i_diag", "w_f_diag", "w_o_diag")
            diags = {name: self.value(name, (UNITS,)) for name in names}
        proj = None
        if self.num_proj is not None:
            proj = self.value("projection/kernel", (UNITS, self.num_proj))
        cell = reference.Cell(
            kernel=self.value("kernel", (INPUTS + self.output_size, 4 * UNITS)),
            bias=self.value("bias", (4 * UNITS,)),
            proj_kernel=proj,
            forget_bias=self.forget_bias,
            cell_clip=self.cell_clip,
            proj_clip=self.proj_clip,
            activation=self.activation,
            **diags,
        )
        return reference.forward(reference.rounded(cell, self.dtype), *self.inputs())


def variable_role(variable_name: str) -> str:
    """``a/cell/projection/kernel:0`` -> ``projection/kernel``; ``a/cell/bias:0`` -> ``bias``."""
    parts = variable_name.removesuffix(":0").split("/")
    return "/".join(parts[-2:]) if parts[-2:-1] == ["projection"] else parts[-1]


def _cell_cases() -> list[CellCase]:
    cases = []
    for dtype in ("float32", "float64"):
        for activation, forget_bias in itertools.product(_ACTIVATIONS, (1.0, -0.75, 1.5)):
            cases.append(CellCase("BasicLSTMCell", dtype, activation, forget_bias))
        projections = ((None, None), (PROJECTED, None), (PROJECTED, 0.1))
        for activation, forget_bias, peepholes, clip, (proj, proj_clip) in itertools.product(
            _ACTIVATIONS, (0.6, -0.75), (False, True), (None, 0.7), projections
        ):
            options = (peepholes, clip, proj, proj_clip)
            cases.append(CellCase("LSTMCell", dtype, activation, forget_bias, *options))
        for activation in _MORE_ACTIVATIONS:
            if (activation, dtype) == ("leaky_relu", "float64"):
                continue  # TensorFlow rounds its slope of 0.2 to float32 there
            cases.append(CellCase("LSTMCell", dtype, activation, 0.6, True, 1.7, PROJECTED, 0.2))
    return cases


CELL_CASES = _cell_cases()


def stored(case: CellCase, c: np.ndarray, h: np.ndarray) -> np.ndarray:
    """What a golden file keeps of c [N, T, H] and h [N, T, P]: one flat vector."""
    steps = STORED_STEPS[case.dtype]
    return np.concatenate([a[:STORED_ROWS, t].ravel() for t in steps for a in (c, h)])
