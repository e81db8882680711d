"""What a Keras model's config says of its LSTM layers, read as data.

Covers the configs of Keras 2 (``model_config`` of .h5 files) and Keras 3 (``config.json``). Nothing
named in a config is looked up or run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lstmcore import _core
from lstmcore.errors import LoadError

# Of an LSTM layer: read here, or of no effect on what a trained layer computes.
_KNOWN = {
    "name", "trainable", "dtype", "batch_input_shape", "batch_shape", "return_sequences",
    "return_state", "go_backwards", "stateful", "unroll", "time_major", "units", "activation",
    "recurrent_activation", "use_bias", "kernel_initializer", "recurrent_initializer",
    "bias_initializer", "unit_forget_bias", "kernel_regularizer", "recurrent_regularizer",
    "bias_regularizer", "activity_regularizer", "kernel_constraint", "recurrent_constraint",
    "bias_constraint", "dropout", "recurrent_dropout", "implementation", "zero_output_for_mask",
    "seed", "ragged", "sparse", "input_dim", "input_length", "consume_less", "use_cudnn",
    "build_config", "inner_init", "init", "forget_bias_init", "W_regularizer", "U_regularizer",
    "b_regularizer", "dropout_W", "dropout_U", "inner_activation", "quantization_config",
}  # fmt: skip
# Layers that pass their input on unchanged when a model is used.
_TRANSPARENT = {
    "Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout",
    "ActivityRegularization",
}  # fmt: skip
_LSTM = {"LSTM", "CuDNNLSTM"}
_MAX_NESTING = 64


@dataclass
class LayerConfig:
    """An LSTM layer. ``problem`` is why it cannot be run, None where it can."""

    name: str
    bidirectional: bool = False
    backwards: bool = False
    returns_sequences: bool = True
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    problem: str | None = None
    below: str | None = None  # the LSTM layer that is its only input, itself its only reader


@dataclass
class _Graph:
    """Layers by name, what each reads, and who reads it."""

    classes: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, list[str]] = field(default_factory=dict)
    readers: dict[str, int] = field(default_factory=dict)


def lstm_layers(text: str, keras_version: str, path: str) -> dict[str, LayerConfig]:
    """The LSTM layers of a model by name, in the order of the config.

    Raises LoadError for a config that is no JSON, or none of a model.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{path}: the model's config is no JSON: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("config"), (dict, list)):
        raise LoadError(f"{path}: the model's config describes no model")
    found: dict[str, LayerConfig] = {}
    graph = _Graph()
    for layer, inputs in _layers(config, 0):
        name, kind = _name_of(layer), layer.get("class_name")
        graph.classes[name] = str(kind)
        graph.inputs[name] = inputs
        for source in inputs:
            graph.readers[source] = graph.readers.get(source, 0) + 1
        described = _lstm(layer, keras_version)
        if described is not None:
            found[name] = described
    for name in found:
        found[name].below = _below(name, found, graph)
    return found


def _layers(config: Any, depth: int) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """All layers, those of models inside models too, with the names of the layers each reads."""
    inner = config.get("config")
    layers = inner.get("layers", []) if isinstance(inner, dict) else inner
    sequential = config.get("class_name") == "Sequential"
    before: list[str] = []
    for layer in layers if isinstance(layers, list) else []:
        if not isinstance(layer, dict) or not isinstance(layer.get("config"), (dict, list)):
            continue
        inputs = before if sequential else sorted(_histories(layer.get("inbound_nodes"), 0))
        yield layer, inputs
        before = [_name_of(layer)]
        if depth < _MAX_NESTING:
            yield from _layers(layer, depth + 1)


def _name_of(layer: dict[str, Any]) -> str:
    config = layer["config"]
    name = config.get("name") if isinstance(config, dict) else None
    return str(name or layer.get("name") or "")


def _histories(nodes: Any, depth: int) -> set[str]:
    """The layers named in ``inbound_nodes``: ["name", 0, 0, {}] or "keras_history": [...]."""
    if depth > _MAX_NESTING:
        return set()
    if isinstance(nodes, dict):
        return set().union(*(_histories(value, depth + 1) for value in nodes.values()))
    if not isinstance(nodes, list):
        return set()
    if len(nodes) >= 3 and isinstance(nodes[0], str) and all(type(n) is int for n in nodes[1:3]):
        return {nodes[0]}
    return set().union(*(_histories(value, depth + 1) for value in nodes))


def _lstm(layer: dict[str, Any], keras_version: str) -> LayerConfig | None:
    kind, config = layer.get("class_name"), layer["config"]
    if kind == "Bidirectional" and isinstance(config, dict):
        inner = config.get("layer")
        if not isinstance(inner, dict) or inner.get("class_name") not in _LSTM:
            return None
        described = _plain(inner, keras_version)
        described.name, described.bidirectional = _name_of(layer), True
        merge = config.get("merge_mode", "concat")
        if merge != "concat":
            described.problem = (
                f"merge_mode {merge!r}; only 'concat' is run (add or multiply the halves yourself)"
            )
        backward = config.get("backward_layer")
        if isinstance(backward, dict) and described.problem is None:
            other = _plain(backward, keras_version)
            same = (other.activation, other.recurrent_activation) == (
                described.activation,
                described.recurrent_activation,
            )
            described.problem = None if same else "its directions have different activations"
        return described
    if kind == "RNN" and isinstance(config, dict):
        return _rnn(layer, config, keras_version)
    return _plain(layer, keras_version) if kind in _LSTM else None


def _rnn(layer: dict[str, Any], config: dict[str, Any], keras_version: str) -> LayerConfig | None:
    """``RNN`` over one ``LSTMCell``; over several cells it is refused."""
    cell = config.get("cell")
    if not isinstance(cell, dict) or cell.get("class_name") not in ("LSTMCell", "StackedRNNCells"):
        return None
    described = _plain({"config": cell.get("config")}, keras_version)
    if cell["class_name"] == "StackedRNNCells":
        described.problem = "several cells in one RNN layer, which are not read"
    described.name = _name_of(layer)
    described.backwards = bool(config.get("go_backwards", False))
    described.returns_sequences = bool(config.get("return_sequences", False))
    return described


def _plain(layer: dict[str, Any], keras_version: str) -> LayerConfig:
    config = layer["config"] if isinstance(layer.get("config"), dict) else {}
    described = LayerConfig(_name_of({"config": config}))
    described.backwards = bool(config.get("go_backwards", False))
    described.returns_sequences = bool(config.get("return_sequences", False))
    unknown = sorted(set(config) - _KNOWN)
    if unknown:
        described.problem = f"its config has {', '.join(unknown)}, which are not known here"
    if layer.get("class_name") == "CuDNNLSTM":
        return described
    old = "hard_sigmoid" if keras_version.startswith("1") else "sigmoid"
    for key, old_key, default in (
        ("activation", "activation", "tanh"),
        ("recurrent_activation", "inner_activation", old),
    ):
        name, problem = _activation(config.get(key, config.get(old_key, default)), keras_version)
        setattr(described, key, name)
        described.problem = described.problem or problem
    if described.recurrent_activation not in ("sigmoid", "hard_sigmoid", "hard_sigmoid_keras3"):
        described.problem = (
            described.problem or f"recurrent_activation {described.recurrent_activation!r}"
        )
    return described


def _activation(value: Any, keras_version: str) -> tuple[str, str | None]:
    """A name of this package, and why there is none."""
    if isinstance(value, dict):  # a registered object
        value = value.get("config") if isinstance(value.get("config"), str) else value
    if value is None:
        return "linear", None
    if not isinstance(value, str):
        return "tanh", f"activation {str(value)[:80]!r}, which is code of the model's own"
    name = {"swish": "silu"}.get(value, value)
    if name == "hard_sigmoid":
        if keras_version.startswith("3"):
            return "hard_sigmoid_keras3", None
        problem = (
            None
            if keras_version
            else (
                "hard_sigmoid, which is 0.2 x + 0.5 in Keras 2 and x / 6 + 0.5 in Keras 3, and the "
                "file does not say which Keras wrote it"
            )
        )
        return name, problem
    if name not in _core.fused_activations():
        return "tanh", f"activation {value!r}, which has no fused kernel"
    return name, None


def _below(name: str, found: dict[str, LayerConfig], graph: _Graph) -> str | None:
    """The LSTM layer below, where nothing but transparent layers is between, nobody else reads it
    and its outputs go up step by step."""
    current = name
    for _ in range(len(graph.classes)):
        inputs = graph.inputs.get(current, [])
        if len(inputs) != 1 or graph.readers.get(inputs[0], 0) != 1:
            return None
        current = inputs[0]
        if current in found:
            usable = found[current].returns_sequences and not found[current].backwards
            return current if usable else None
        if graph.classes.get(current) not in _TRANSPARENT:
            return None
    return None
