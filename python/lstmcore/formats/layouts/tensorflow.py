"""TensorFlow's cells (BasicLSTMCell, LSTMCell, LSTMBlockCell): the canonical layout itself."""

from __future__ import annotations

from collections.abc import Mapping

from lstmcore.arrays import Array
from lstmcore.formats.layouts.base import (
    Layout,
    LayoutError,
    Shapes,
    Sizes,
    Weights,
    blocks_of,
    check_shape,
    matrix,
)
from lstmcore.models.description import PEEPHOLES, CellSpec


class TensorFlowLayout(Layout):
    """kernel [I+P, 4H], bias [4H], w_{i,f,o}_diag [H], projection/kernel [H, P]; i, j, f, o."""

    name = "TensorFlow"
    gates = "ijfo"
    required = ("kernel", "bias")
    optional = (*PEEPHOLES, "projection/kernel")

    def sizes(self, shapes: Shapes) -> Sizes:
        rows, columns = matrix(shapes, "kernel")
        if columns % 4:
            raise LayoutError(
                f"kernel has shape {shapes['kernel']}; an LSTM cell's is (input + units, 4 x units)"
            )
        H = columns // 4
        hint = ": two biases per gate are CuDNN's layout" if shapes["bias"] == (8 * H,) else ""
        if shapes["bias"] != (4 * H,):
            raise LayoutError(f"bias has shape {shapes['bias']}; {H} units need ({4 * H},){hint}")
        found = [role for role in PEEPHOLES if role in shapes]
        if found and len(found) < 3:
            raise LayoutError(f"of {', '.join(PEEPHOLES)} only {', '.join(found)}")
        for role in found:
            check_shape(shapes, role, (H,), f"{H} units")
        P = None
        if "projection/kernel" in shapes:
            P = matrix(shapes, "projection/kernel")[1]
            check_shape(shapes, "projection/kernel", (H, P), f"{H} units")
        if rows <= (P or H):
            raise LayoutError(f"kernel has {rows} rows; the hidden state alone needs {P or H}")
        return Sizes(rows - (P or H), H, P, bool(found))

    def to_canonical(self, weights: Weights, sizes: Sizes) -> dict[str, Array]:
        return {("projection" if "/" in role else role): value for role, value in weights.items()}

    def from_canonical(self, weights: Weights, spec: CellSpec) -> dict[str, Array]:
        """Forget bias and the other options stay arguments of the cell."""
        return {
            ("projection/kernel" if role == "projection" else role): value
            for role, value in weights.items()
        }

    def pre_activations(self, weights: Weights, x: Array, h: Array) -> Mapping[str, Array]:
        kernel, I = weights["kernel"], x.shape[1]
        return blocks_of(x @ kernel[:I] + h @ kernel[I:] + weights["bias"], self.gates, 1)

    def peepholes(self, weights: Weights, num_units: int) -> Mapping[str, Array]:
        return {role[2]: weights[role] for role in PEEPHOLES if role in weights}

    def projection(self, weights: Weights) -> Array | None:
        return weights.get("projection/kernel")


TENSORFLOW = TensorFlowLayout()
