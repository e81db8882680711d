"""Keras's LSTM, and the layout of its former CuDNNLSTM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

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


class KerasLayout(Layout):
    """kernel [I, 4H], recurrent_kernel [H, 4H], bias [4H] or none; i, f, c, o."""

    name = "Keras"
    gates = "ifjo"
    required: ClassVar[tuple[str, ...]] = ("kernel", "recurrent_kernel")
    optional: ClassVar[tuple[str, ...]] = ("bias",)
    biases = 1

    def sizes(self, shapes: Shapes) -> Sizes:
        I, _ = matrix(shapes, "kernel")
        H, recurrent_columns = matrix(shapes, "recurrent_kernel")
        if recurrent_columns != 4 * H:
            shape, gates = shapes["recurrent_kernel"], recurrent_columns // H
            raise not_four_gates("recurrent_kernel", shape, H, gates)
        check_shape(shapes, "kernel", (I, 4 * H), f"an LSTM of {H} units")
        check_shape(shapes, "bias", (4 * H * self.biases,), f"an LSTM of {H} units")
        return Sizes(I, H)

    def to_canonical(self, weights: Weights, sizes: Sizes) -> dict[str, Array]:
        kernel = np.concatenate([weights["kernel"], weights["recurrent_kernel"]])
        bias = weights.get("bias")
        if bias is None:
            bias = np.zeros(4 * sizes.num_units, kernel.dtype)
        return {
            "kernel": reordered(kernel, self.gates, CANONICAL, 1),
            "bias": reordered(bias, self.gates, CANONICAL, 0),
        }

    def from_canonical(self, weights: Weights, spec: CellSpec) -> dict[str, Array]:
        refuse_options(spec, "Keras's LSTM", ("activation", "recurrent_activation"))
        kernel = reordered(weights["kernel"], CANONICAL, self.gates, 1)
        bias = bias_with_forget(weights, spec)
        return {
            "kernel": kernel[: spec.input_size],
            "recurrent_kernel": kernel[spec.input_size :],
            "bias": reordered(bias, CANONICAL, self.gates, 0),
        }

    def pre_activations(self, weights: Weights, x: Array, h: Array) -> Mapping[str, Array]:
        z = x @ weights["kernel"] + h @ weights["recurrent_kernel"] + weights.get("bias", 0.0)
        return blocks_of(z, self.gates, 1)


class CudnnLayout(KerasLayout):
    """kernel [I, 4H] and recurrent_kernel [H, 4H] as cuDNN holds them, bias [8H]; i, f, c, o.

    Each gate's [I, H] block of the kernel is cuDNN's [H, I] matrix in other words: its I*H values,
    read row by row, are that matrix's columns. The recurrent blocks are plainly transposed. The
    first 4H biases belong to the inputs, the others to the hidden state; they are added.
    """

    name = "Keras CuDNN"
    required = ("kernel", "recurrent_kernel", "bias")
    optional = ()
    biases = 2

    def to_canonical(self, weights: Weights, sizes: Sizes) -> dict[str, Array]:
        I, H = sizes.input_size, sizes.num_units
        inputs = [b.reshape(H, I).T for b in np.split(weights["kernel"], 4, axis=1)]
        hidden = [b.T for b in np.split(weights["recurrent_kernel"], 4, axis=1)]
        plain = {
            "kernel": np.concatenate(inputs, axis=1),
            "recurrent_kernel": np.concatenate(hidden, axis=1),
            "bias": np.add(*np.split(weights["bias"], 2)),
        }
        return super().to_canonical(plain, sizes)

    def from_canonical(self, weights: Weights, spec: CellSpec) -> dict[str, Array]:
        refuse_options(spec, "CuDNNLSTM")
        raise LayoutError("CuDNNLSTM is no more: write the layout of Keras's LSTM")

    def pre_activations(self, weights: Weights, x: Array, h: Array) -> Mapping[str, Array]:
        N, H = x.shape[0], h.shape[1]
        biases = weights["bias"].reshape(2, 4, H)
        gates = {}
        for k, gate in enumerate(self.gates):
            columns = slice(k * H, (k + 1) * H)
            W = weights["kernel"][:, columns].ravel()
            R = weights["recurrent_kernel"][:, columns]
            z = np.empty((N, H))
            for unit in range(H):  # row `unit` of cuDNN's [H, I] matrix
                z[:, unit] = x @ W[unit * x.shape[1] : (unit + 1) * x.shape[1]] + h @ R[unit]
            gates[gate] = z + biases[0, k] + biases[1, k]
        return gates


KERAS = KerasLayout()
CUDNN = CudnnLayout()
