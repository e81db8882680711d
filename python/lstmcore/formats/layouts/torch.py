"""torch.nn.LSTM and torch.nn.LSTMCell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lstmcore.arrays import Array
from lstmcore.formats.layouts.base import (
    CANONICAL,
    Layout,
    LayoutError,
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


class TorchLayout(Layout):
    """weight_ih [4H, I], weight_hh [4H, P], bias_ih and bias_hh [4H] or none, weight_hr [P, H].

    Gates i, f, g, o; the two biases are added.
    """

    name = "PyTorch"
    gates = "ifjo"
    required = ("weight_ih", "weight_hh")
    optional = ("bias_ih", "bias_hh", "weight_hr")

    def sizes(self, shapes: Shapes) -> Sizes:
        _, I = matrix(shapes, "weight_ih")
        hidden_rows, P = matrix(shapes, "weight_hh")
        H = matrix(shapes, "weight_hr")[1] if "weight_hr" in shapes else P
        if hidden_rows != 4 * H:
            raise not_four_gates("weight_hh", shapes["weight_hh"], H, hidden_rows // H)
        why = f"an LSTM of {H} units"
        check_shape(shapes, "weight_ih", (4 * H, I), why)
        check_shape(shapes, "weight_hr", (P, H), why)
        biases = [role for role in ("bias_ih", "bias_hh") if role in shapes]
        if len(biases) == 1:
            raise LayoutError(f"of bias_ih and bias_hh only {biases[0]}")
        for role in biases:
            check_shape(shapes, role, (4 * H,), why)
        return Sizes(I, H, P if "weight_hr" in shapes else None)

    def to_canonical(self, weights: Weights, sizes: Sizes) -> dict[str, Array]:
        kernel = np.concatenate([weights["weight_ih"].T, weights["weight_hh"].T])
        bias = np.zeros(4 * sizes.num_units, kernel.dtype)
        if "bias_ih" in weights:
            bias = weights["bias_ih"] + weights["bias_hh"]
        canonical = {
            "kernel": reordered(kernel, self.gates, CANONICAL, 1),
            "bias": reordered(bias, self.gates, CANONICAL, 0),
        }
        if "weight_hr" in weights:
            canonical["projection"] = np.ascontiguousarray(weights["weight_hr"].T)
        return canonical

    def from_canonical(self, weights: Weights, spec: CellSpec) -> dict[str, Array]:
        refuse_options(spec, "torch.nn.LSTM", ("num_proj",))
        kernel = reordered(weights["kernel"], CANONICAL, self.gates, 1)
        bias = reordered(bias_with_forget(weights, spec), CANONICAL, self.gates, 0)
        arrays = {
            "weight_ih": np.ascontiguousarray(kernel[: spec.input_size].T),
            "weight_hh": np.ascontiguousarray(kernel[spec.input_size :].T),
            "bias_ih": bias,
            "bias_hh": np.zeros_like(bias),
        }
        if "projection" in weights:
            arrays["weight_hr"] = np.ascontiguousarray(weights["projection"].T)
        return arrays

    def pre_activations(self, weights: Weights, x: Array, h: Array) -> Mapping[str, Array]:
        z = x @ weights["weight_ih"].T + weights.get("bias_ih", 0.0)
        z = z + h @ weights["weight_hh"].T + weights.get("bias_hh", 0.0)
        return blocks_of(z, self.gates, 1)

    def projection(self, weights: Weights) -> Array | None:
        return weights["weight_hr"].T if "weight_hr" in weights else None


TORCH = TorchLayout()
