"""A case as an ONNX model of LSTM operators, for the engines that read ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lstmcore.benchmark.cases import Array, Case, Direction, Inputs


def _gates(matrix: Array) -> Array:
    """Columns i, j, f, o to rows i, o, f, c."""
    i, j, f, o = np.split(matrix, 4, axis=-1)
    return np.ascontiguousarray(np.concatenate([i, o, f, j], axis=-1).T)


def _lstm(k: int, directions: list[Direction], x: str, case: Case) -> tuple[list[Any], list[Any]]:
    zeros = np.zeros_like(directions[0].b)
    weights = {
        f"W{k}": np.stack([_gates(d.W) for d in directions]),
        f"R{k}": np.stack([_gates(d.R) for d in directions]),
        f"B{k}": np.stack([np.concatenate([_gates(d.b), zeros]) for d in directions]),
    }
    lengths = "lengths" if case.ragged else ""
    state = ["h0", "c0"] if case.is_step else []
    outputs = [f"Y{k}", "h", "c"] if case.is_step else [f"Y{k}"]
    node = helper.make_node(
        "LSTM",
        [x, *weights, lengths, *state],
        outputs,
        hidden_size=case.num_units,
        direction="bidirectional" if case.bidirectional else "forward",
    )
    return [node], [numpy_helper.from_array(value, name) for name, value in weights.items()]


def make(case: Case, inputs: Inputs) -> bytes:
    """Inputs x [T, B, I] (and lengths; h0 and c0 of a step); outputs y, or h and c of a step."""
    steps, shape = inputs.x.shape[0], [1, case.batch, case.num_units]
    graph_inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(inputs.x.shape))]
    if case.ragged:
        graph_inputs.append(
            helper.make_tensor_value_info("lengths", TensorProto.INT32, [case.batch])
        )
    if case.is_step:
        graph_inputs += [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("h0", "c0")
        ]
    nodes, initializers, x = [], [], "x"
    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    for k, directions in enumerate(inputs.layers):
        made, weights = _lstm(k, directions, x, case)
        nodes += made
        initializers += weights
        last = k + 1 == len(inputs.layers)
        if not last:  # Y is [T, directions, B, H]
            nodes.append(helper.make_node("Squeeze", [f"Y{k}", "axes"], [f"x{k + 1}"]))
            initializers.append(axes)
            x = f"x{k + 1}"
    if case.is_step:
        outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("h", "c")]
    else:
        y_shape = [steps, len(inputs.layers[-1]), case.batch, case.num_units]
        y = f"Y{len(inputs.layers) - 1}"
        outputs = [helper.make_tensor_value_info(y, TensorProto.FLOAT, y_shape)]
    graph = helper.make_graph(nodes, "lstm", graph_inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def as_sequence(y: Array) -> Array:
    """[T, directions, B, H] to [T, B, directions * H]."""
    steps, _, batch, _ = y.shape
    return y.transpose(0, 2, 1, 3).reshape(steps, batch, -1)
