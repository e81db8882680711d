"""Models in the layouts of other frameworks, and as files."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from lstmcore import _core
from lstmcore.arrays import Array
from lstmcore.formats import canonical
from lstmcore.formats.files import optional
from lstmcore.formats.layouts import KERAS, ONNX, TENSORFLOW, TORCH, LayoutError
from lstmcore.models.lstm import LSTM

_ONNX_NAMES = {
    "tanh": ("Tanh", None, None),
    "sigmoid": ("Sigmoid", None, None),
    "relu": ("Relu", None, None),
    "softsign": ("Softsign", None, None),
    "linear": ("Affine", 1.0, 0.0),
    "hard_sigmoid": ("HardSigmoid", 0.2, 0.5),
    "hard_sigmoid_keras3": ("HardSigmoid", 1 / 6, 0.5),
    "leaky_relu": ("LeakyRelu", 0.2, None),
    "elu": ("Elu", 1.0, None),
}
_OPSET, _IR_VERSION = 14, 8


def save(model: LSTM, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Writes a model by the ending of ``path``: ``.safetensors`` (canonical) or ``.onnx``.

    Raises FileExistsError unless ``overwrite``, ValueError for another ending and for options that
    the format has nothing for, MissingExtra where a package is needed. The file appears whole or
    not at all.
    """
    target = os.fsdecode(path)
    if not target.endswith((".safetensors", ".onnx")):
        raise ValueError(f"path: expected an ending of .safetensors or .onnx, got {target!r}")
    if os.path.exists(target) and not overwrite:
        raise FileExistsError(f"{target} exists; pass overwrite=True to replace it")
    if target.endswith(".safetensors"):
        canonical.write(model, target)
    else:
        canonical.replace(target, to_onnx(model).SerializeToString())


def to_torch(model: LSTM, prefix: str = "") -> dict[str, Array]:
    """The state_dict of ``torch.nn.LSTM`` as NumPy arrays; the forget bias is in ``bias_ih``.

    Raises ValueError for what that module does not have: peepholes, clips, other activations,
    layers of different sizes or directions.
    """
    specs = [cell.spec for layer in model.layers for _, cell in layer.cells]
    sides = {tuple(side for side, _ in layer.cells) for layer in model.layers}
    if len(sides) > 1 or "forward" not in next(iter(sides)):
        raise LayoutError("torch.nn.LSTM has the same directions in every layer, forward first")
    if len({(spec.num_units, spec.num_proj) for spec in specs}) > 1:
        raise LayoutError("torch.nn.LSTM has layers of one size")
    return {
        f"{prefix}{role}_l{k}{'_reverse' if side == 'backward' else ''}": value
        for k, layer in enumerate(model.layers)
        for side, cell in layer.cells
        for role, value in TORCH.from_canonical(cell.weights, cell.spec).items()
    }


def to_keras(model: LSTM) -> list[list[Array]]:
    """Per layer what ``set_weights`` of ``keras.layers.LSTM`` takes, of ``Bidirectional`` for both.

    That is kernel, recurrent_kernel and bias of the forward direction, then of the backward one.
    Raises ValueError for peepholes, projections and clips.
    """
    return [
        [
            value
            for _, cell in layer.cells
            for value in KERAS.from_canonical(cell.weights, cell.spec).values()
        ]
        for layer in model.layers
    ]


def to_tensorflow(model: LSTM, scope: str = "rnn") -> dict[str, Array]:
    """Variables of TensorFlow's cells by name, such as ``rnn/multi_rnn_cell/cell_0/...``.

    The forget bias and the other options remain arguments of the cells.
    """
    variables = {}
    many = len(model.layers) > 1
    for k, layer in enumerate(model.layers):
        both = len(layer.cells) == 2
        for side, cell in layer.cells:
            parts = [scope]
            if both:
                parts = ["stack_bidirectional_rnn", f"cell_{k}"] if many else []
                parts += ["bidirectional_rnn", "fw" if side == "forward" else "bw"]
                parts = [scope, *parts]
            elif many:
                parts += ["multi_rnn_cell", f"cell_{k}"]
            for role, value in TENSORFLOW.from_canonical(cell.weights, cell.spec).items():
                variables["/".join([*parts, "lstm_cell", role])] = value
    return variables


def to_onnx(model: LSTM) -> Any:
    """An ``onnx.ModelProto``: inputs X [T, N, I], lengths [N] int32 and, per layer, h0 and c0;
    outputs Y [T, N, output_size] and the last states.

    Raises ValueError for projections and clips, MissingExtra without the package onnx.
    """
    onnx = optional("onnx", "onnx", "writing ONNX files")
    helper, proto = onnx.helper, onnx.TensorProto
    kind = proto.DOUBLE if model.dtype == np.float64 else proto.FLOAT
    nodes, tensors, inputs, outputs = [], [], [], []
    lengths = helper.make_tensor_value_info("lengths", proto.INT32, ["N"])
    x = helper.make_tensor_value_info("X", kind, ["T", "N", model.input_size])
    tensors.append(onnx.numpy_helper.from_array(np.array([0, 0, -1]), "merged"))
    name = "X"
    for k, layer in enumerate(model.layers):
        arrays = [ONNX.from_canonical(cell.weights, cell.spec) for _, cell in layer.cells]
        if len({cell.spec.num_units for _, cell in layer.cells}) > 1:
            raise LayoutError(f"ONNX's LSTM has directions of one size; layer {k} has not")
        H, D = layer.cells[0][1].spec.num_units, len(arrays)
        for role in arrays[0]:
            stacked = np.stack([a[role] for a in arrays])
            tensors.append(onnx.numpy_helper.from_array(stacked, f"l{k}.{role}"))
        states = [f"l{k}.h0", f"l{k}.c0"]
        inputs += [helper.make_tensor_value_info(s, kind, [D, "N", H]) for s in states]
        finals = [f"l{k}.h", f"l{k}.c"]
        outputs += [helper.make_tensor_value_info(s, kind, [D, "N", H]) for s in finals]
        given = [name, f"l{k}.W", f"l{k}.R", f"l{k}.B", "lengths", *states]
        given += [f"l{k}.P"] if "P" in arrays[0] else []
        nodes.append(
            helper.make_node(
                "LSTM", given, [f"l{k}.Y", *finals], name=f"lstm_{k}", hidden_size=H,
                direction=_onnx_direction(layer), **_onnx_activations(layer),
            )
        )  # fmt: skip
        nodes.append(helper.make_node("Transpose", [f"l{k}.Y"], [f"l{k}.T"], perm=[0, 2, 1, 3]))
        name = "Y" if k + 1 == len(model.layers) else f"l{k}.out"
        nodes.append(helper.make_node("Reshape", [f"l{k}.T", "merged"], [name]))
    y = helper.make_tensor_value_info("Y", kind, ["T", "N", model.output_size])
    graph = helper.make_graph(nodes, "lstmcore", [x, lengths, *inputs], [y, *outputs], tensors)
    made = helper.make_model(
        graph,
        producer_name="lstmcore",
        producer_version=_core.__version__,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    onnx.checker.check_model(made)
    return made


def _onnx_direction(layer: Any) -> str:
    sides = [side for side, _ in layer.cells]
    return "bidirectional" if len(sides) == 2 else "reverse" if sides == ["backward"] else "forward"


def _onnx_activations(layer: Any) -> dict[str, Any]:
    """Nothing where all are ONNX's defaults."""
    names, alphas, betas = [], [], []
    for _, cell in layer.cells:
        spec = cell.spec
        for activation in (spec.recurrent_activation, spec.activation, spec.activation):
            if activation not in _ONNX_NAMES:
                raise LayoutError(f"ONNX's LSTM has no activation {activation!r}")
            name, alpha, beta = _ONNX_NAMES[activation]
            names.append(name)
            alphas += [] if alpha is None else [alpha]
            betas += [] if beta is None else [beta]
    if set(names) <= {"Sigmoid", "Tanh"} and names == ["Sigmoid", "Tanh", "Tanh"] * len(
        layer.cells
    ):
        return {}
    attributes: dict[str, Any] = {"activations": names}
    if alphas:
        attributes["activation_alpha"] = alphas
    if betas:
        attributes["activation_beta"] = betas
    return attributes
