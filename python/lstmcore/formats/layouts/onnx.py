"""One direction of the ONNX operator LSTM."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lstmcore.arrays import Array
from lstmcore.formats.layouts.base import (
    CANONICAL,
    Layout,
    Shapes,
    Sizes,
    Weights,
    bias_with_forget,
    blocks_of,
    check_shape,
    matrix,
    not_four_gates,
    refuse_options,
    reordered,
)
from lstmcore.models.description import CellSpec


class OnnxLayout(Layout):
    """W [4H, I], R [4H, H], B [8H] or none, P [3H] or none, of one direction.

    Gates i, o, f, c; the first 4H of B belong to the inputs, the others to the hidden state, and
    are added. Peepholes in the order i, o, f.
    """

    name = "ONNX"
    gates = "iofj"
    required = ("W", "R")
    optional = ("B", "P")

    def sizes(self, shapes: Shapes) -> Sizes:
        _, I = matrix(shapes, "W")
        rows, H = matrix(shapes, "R")
        if rows != 4 * H:
            raise not_four_gates("R", shapes["R"], H, rows // H)
        why = f"an LSTM of {H} units"
        check_shape(shapes, "W", (4 * H, I), why)
        check_shape(shapes, "B", (8 * H,), why)
        check_shape(shapes, "P", (3 * H,), why)
        return Sizes(I, H, None, "P" in shapes)

    def to_canonical(self, weights: Weights, sizes: Sizes) -> dict[str, Array]:
        kernel = np.concatenate([weights["W"].T, weights["R"].T])
        bias = np.zeros(4 * sizes.num_units, kernel.dtype)
        if "B" in weights:
            bias = np.add(*np.split(weights["B"], 2))
        canonical = {
            "kernel": reordered(kernel, self.gates, CANONICAL, 1),
            "bias": reordered(bias, self.gates, CANONICAL, 0),
        }
        for gate, peephole in self.peepholes(weights, sizes.num_units).items():
            canonical[f"w_{gate}_diag"] = np.ascontiguousarray(peephole)
        return canonical

    def from_canonical(self, weights: Weights, spec: CellSpec) -> dict[str, Array]:
        allowed = ("activation", "recurrent_activation", "use_peepholes")
        refuse_options(spec, "ONNX's LSTM", allowed)
        kernel = reordered(weights["kernel"], CANONICAL, self.gates, 1)
        bias = reordered(bias_with_forget(weights, spec), CANONICAL, self.gates, 0)
        arrays = {
            "W": np.ascontiguousarray(kernel[: spec.input_size].T),
            "R": np.ascontiguousarray(kernel[spec.input_size :].T),
            "B": np.concatenate([bias, np.zeros_like(bias)]),
        }
        if spec.use_peepholes:
            arrays["P"] = np.concatenate([weights[f"w_{gate}_diag"] for gate in "iof"])
        return arrays

    def pre_activations(self, weights: Weights, x: Array, h: Array) -> Mapping[str, Array]:
        biases = np.split(weights["B"], 2) if "B" in weights else (0.0, 0.0)
        z = x @ weights["W"].T + biases[0] + h @ weights["R"].T + biases[1]
        return blocks_of(z, self.gates, 1)

    def peepholes(self, weights: Weights, num_units: int) -> Mapping[str, Array]:
        if "P" not in weights:
            return {}
        return dict(zip("iof", np.split(weights["P"], 3), strict=True))


ONNX = OnnxLayout()
