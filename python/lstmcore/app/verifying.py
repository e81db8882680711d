"""``lstmcore verify``: a model against another engine on the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lstmcore.arrays import Array
from lstmcore.formats import self_check
from lstmcore.formats.files import optional
from lstmcore.formats.layouts import TENSORFLOW
from lstmcore.formats.saving import to_keras, to_onnx, to_torch
from lstmcore.models.description import Cell
from lstmcore.models.lstm import LSTM

# Largest difference allowed, relative to the largest output: float32 sums of a thousand products in
# another order, over some steps, and exponentials of another kind.
BOUNDS = {"float32": 2e-5, "float64": 1e-12}
_ROWS, _STEPS = 3, 20


def verify(model: LSTM, against: str) -> dict[str, Any]:
    """Compares outputs on random inputs. Raises MissingExtra, ValueError for what it cannot run."""
    x = np.random.default_rng(7).normal(size=(_ROWS, _STEPS, model.input_size)).astype(model.dtype)
    with np.errstate(all="ignore"):
        expected = np.asarray(ENGINES[against](model, x), np.float64)
    got = model(x).astype(np.float64)
    finite = np.isfinite(expected)
    same_kind = bool(np.array_equal(finite, np.isfinite(got)))
    gap = np.where(finite & np.isfinite(got), np.abs(got - expected), 0.0)
    scale = float(np.abs(expected[finite]).max(initial=1e-30))
    row, step, unit = (int(k) for k in np.unravel_index(int(gap.argmax()), gap.shape))
    bound = BOUNDS[model.dtype.name]
    return {
        "model": repr(model),
        "against": against,
        "max_abs": float(gap.max()),
        "relative": float(gap.max()) / scale,
        "bound": bound,
        "passed": same_kind and float(gap.max()) / scale <= bound,
        "finite": bool(finite.all()),
        "worst": {
            "row": row,
            "step": step,
            "output": unit,
            "got": float(got[row, step, unit]),
            "expected": float(expected[row, step, unit]),
            "gate": _worst_gate(model),
        },
    }


def _numpy(model: LSTM, x: Array) -> Array:
    """The equations in float64 NumPy."""
    y: Array = x.transpose(1, 0, 2).astype(np.float64)
    for layer in model.layers:
        parts = []
        for side, cell in layer.cells:
            turned = y if side == "forward" else y[::-1]
            h = _reference(cell, turned)
            parts.append(h if side == "forward" else h[::-1])
        y = np.concatenate(parts, axis=2)
    return y.transpose(1, 0, 2)


def _reference(cell: Cell, x: Array) -> Array:
    weights = TENSORFLOW.from_canonical(cell.weights, cell.spec)
    return self_check.reference(TENSORFLOW, weights, cell.spec, x)


def _torch(model: LSTM, x: Array) -> Array:
    torch = optional("torch", "torch", "verifying against torch")
    spec = model.layers[0].cells[0][1].spec
    state = to_torch(model)
    module = torch.nn.LSTM(
        model.input_size,
        spec.num_units,
        model.num_layers,
        batch_first=True,
        bidirectional=model.bidirectional,
        proj_size=spec.num_proj or 0,
        dtype=getattr(torch, model.dtype.name),
    )
    module.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in state.items()})
    with torch.no_grad():
        return np.asarray(module(torch.from_numpy(x))[0].numpy())


def _onnxruntime(model: LSTM, x: Array) -> Array:
    onnxruntime = optional("onnxruntime", "onnxruntime", "verifying against onnxruntime")
    session = onnxruntime.InferenceSession(to_onnx(model).SerializeToString())
    feed: dict[str, Array] = {
        "X": np.ascontiguousarray(x.transpose(1, 0, 2)),
        "lengths": np.full(len(x), x.shape[1], np.int32),
    }
    for k, layer in enumerate(model.layers):
        size = (len(layer.cells), len(x), layer.cells[0][1].spec.num_units)
        feed |= {f"l{k}.{name}0": np.zeros(size, model.dtype) for name in "hc"}
    return np.asarray(session.run(["Y"], feed)[0]).transpose(1, 0, 2)


def _tf(model: LSTM, x: Array) -> Array:
    """Keras's LSTM layers, of the Keras that this TensorFlow has."""
    tf = optional("tensorflow", "tensorflow", "verifying against tf")
    layers, y = tf.keras.layers, tf.constant(x)
    # Keras 2 inside TensorFlow does not say its version there.
    major = int(getattr(tf.keras, "__version__", "2").split(".")[0])
    for layer, weights in zip(model.layers, to_keras(model), strict=True):
        spec = layer.cells[0][1].spec
        own = {"hard_sigmoid": 2, "hard_sigmoid_keras3": 3}
        if own.get(spec.recurrent_activation, major) != major:
            raise ValueError(f"Keras {major} has no {spec.recurrent_activation}")
        made = layers.LSTM(
            spec.num_units,
            activation=spec.activation,
            recurrent_activation=spec.recurrent_activation.removesuffix("_keras3"),
            return_sequences=True,
            go_backwards=layer.forward is None,
            dtype=model.dtype.name,
        )
        if len(layer.cells) == 2:
            made = layers.Bidirectional(made, dtype=model.dtype.name)
        made.build(y.shape)
        made.set_weights(weights)
        y = made(y)
        if layer.forward is None:  # Keras leaves these in the order of their computation
            y = tf.reverse(y, [1])
    return np.asarray(y)


ENGINES: dict[str, Callable[[LSTM, Array], Array]] = {
    "numpy": _numpy,
    "torch": _torch,
    "onnxruntime": _onnxruntime,
    "tf": _tf,
}


def _worst_gate(model: LSTM) -> str:
    """The gate of the first layer that is farthest from float64, in one call of the kernel."""
    side, cell = model.layers[0].cells[0]
    if cell.spec.num_proj is not None:
        return "not told for projections"
    x = np.random.default_rng(7).normal(size=(1, _ROWS, cell.spec.input_size))
    wide = Cell(cell.spec, {k: v.astype(np.float64) for k, v in cell.weights.items()})
    own, exact = (
        _gates(each, x.astype(dtype)) for each, dtype in ((cell, model.dtype), (wide, float))
    )
    gaps = {gate: float(np.abs(own[gate] - exact[gate]).max()) for gate in "ijfo"}
    worst = max(gaps, key=lambda gate: gaps[gate])
    return f"{worst} of layer 0 {side} ({gaps[worst]:.1e} from float64)"


def _gates(cell: Cell, x: Array) -> dict[str, Array]:
    """What one step gives each gate, from a zero state."""
    zeros = np.zeros((x.shape[1], cell.spec.num_units), x.dtype)
    values = cell.native().forward_gates(np.ascontiguousarray(x), zeros, zeros, 1)
    return dict(zip(("i", "c", "f", "o", "j", "co", "h"), values, strict=True))


def as_text(done: dict[str, Any]) -> str:
    worst = done["worst"]
    verdict = "PASS" if done["passed"] else "FAIL"
    return "\n".join(
        [
            done["model"],
            f"against    {done['against']}, {_ROWS} rows of {_STEPS} steps",
            f"max abs    {done['max_abs']:.2e}",
            f"relative   {done['relative']:.2e} of the largest output (bound {done['bound']:.0e})",
            f"worst at   row {worst['row']}, step {worst['step']}, output {worst['output']}: "
            f"{worst['got']:.9g}, expected {worst['expected']:.9g}",
            f"worst gate {worst['gate']}",
            verdict + ("" if done["finite"] else " (the outputs are not all finite)"),
        ]
    )
