"""ONNX: ``LSTM`` nodes whose weights are constants, bodies of If, Loop and functions included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from lstmcore.arrays import Array
from lstmcore.errors import LoadError, UnsafeFile
from lstmcore.formats.files import optional, read_file
from lstmcore.formats.layouts import ONNX
from lstmcore.formats.onnx_values import Values
from lstmcore.formats.source import (
    CellOptions,
    FoundCell,
    FoundLayer,
    FoundModel,
    Source,
    TensorInfo,
)

_MAX_DEPTH = 32
_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
_KNOWN = {
    "activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size",
    "input_forget", "layout", "output_sequence",
}  # fmt: skip
# ONNX's names of activations without parameters, and of those with them at these values.
_PLAIN = {"Tanh": "tanh", "Sigmoid": "sigmoid", "Relu": "relu", "Softsign": "softsign"}
_WITH_ALPHA = {"Affine": 1.0, "LeakyRelu": 0.01, "ThresholdedRelu": 1.0, "Elu": 1.0}
_WITH_BOTH = {"HardSigmoid": (0.2, 0.5), "ScaledTanh": (1.0, 1.0), "Affine": (1.0, 0.0)}

_DEFAULTS = CellOptions(0.0, "tanh", "sigmoid")


class _Node(NamedTuple):
    """An LSTM node, the constants it can see, and its name."""

    node: Any
    values: Values
    name: str
    attributes: dict[str, Any]

    def input(self, role: str) -> str:
        place = _INPUTS.index(role)
        return self.node.input[place] if place < len(self.node.input) else ""


@dataclass
class OnnxSource(Source):
    """Opens the model at ``path``. Raises LoadError, UnsafeFile, MissingExtra."""

    arrays: dict[str, Array] = field(default_factory=dict)
    made_of: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        onnx = optional("onnx", "onnx", "reading ONNX files")
        optional("onnx.numpy_helper", "onnx", "reading ONNX files")
        try:
            model = onnx.load_model_from_string(read_file(self.path))
            self._find(onnx, model)
        except LoadError:
            raise
        except Exception as error:  # fields of wrong types fail wherever they are used
            raise self.error(f"no ONNX model: {type(error).__name__}: {error}") from None

    def _find(self, onnx: Any, model: Any) -> None:
        nodes: list[_Node] = []
        for graph, prefix in [(model.graph, ""), *((f, f"{f.name}/") for f in model.functions)]:
            nodes += self._walk(onnx, graph, None, prefix, 0)
        self.foreign = {
            name for name, info in self.tensors.items() if not info.dtype.startswith(("fl", "bf"))
        }
        self.models = _stacked([(node, self._model(node)) for node in nodes])

    def _walk(
        self, onnx: Any, graph: Any, outer: Values | None, prefix: str, depth: int
    ) -> Iterator[_Node]:
        if depth > _MAX_DEPTH:
            raise self.error(f"graphs more than {_MAX_DEPTH} deep")
        values = Values(onnx, self.path, graph, outer)
        for name, tensor in values.initializers.items():
            kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            self.tensors[name] = TensorInfo(tuple(tensor.dims), np.dtype(kind).name)
        for node in graph.node:
            attributes = {}
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    inner = f"{prefix}{node.name or node.op_type}/"
                    yield from self._walk(onnx, attribute.g, values, inner, depth + 1)
                else:
                    attributes[attribute.name] = onnx.helper.get_attribute_value(attribute)
            if node.op_type == "LSTM" and node.domain in ("", "ai.onnx"):
                own = node.name or (node.output[0] if node.output else "") or "LSTM"
                yield _Node(node, values, own, attributes)

    def _model(self, node: _Node) -> FoundModel:
        """The node as a layer; its arrays are kept under ``<name>.W[direction]``."""
        text = node.attributes.get("direction", b"forward").decode("utf-8", "replace")
        sides = {"forward": ["forward"], "reverse": ["backward"]}.get(text, ["forward", "backward"])
        name = node.name
        if any(model.scope == name for model in self.models):
            name = f"{name}@{node.input('W')}"
        try:
            options, problem = self._options(node, len(sides))
            cells = self._cells(node, name, sides, options)
        except UnsafeFile:
            raise
        except LoadError as error:
            return FoundModel(name, (), problem=str(error).removeprefix(f"{self.path}: "))
        problem = problem or self._initial_state(node, cells)
        if text not in ("forward", "reverse", "bidirectional"):
            problem = f"direction {text!r}"
        notes = ["batch-major (layout 1)"] if node.attributes.get("layout", 0) else []
        layer = FoundLayer(cells.get("forward"), cells.get("backward"))
        return FoundModel(name, (layer,), tuple(notes), problem and f"node {name!r} has {problem}")

    def _cells(
        self, node: _Node, name: str, sides: list[str], options: list[CellOptions]
    ) -> dict[str, FoundCell]:
        names: list[dict[str, str]] = [{} for _ in sides]
        for role in ("W", "R", "B", "P"):
            given = node.input(role)
            if not given:
                continue
            origins: set[str] = set()
            array = node.values.get(given, origins)
            if array is None:
                raise self.error(
                    f"node {name!r}: {role} ({given!r}) is computed by the graph; only constant "
                    "weights are read"
                )
            if array.ndim < 2 or array.shape[0] != len(sides):
                raise self.error(
                    f"node {name!r}: {role} has shape {array.shape}; expected {len(sides)} "
                    "directions on its first axis"
                )
            for k, found in enumerate(names):
                found[role] = f"{name}.{role}[{k}]"
                self.arrays[found[role]] = array[k]
                self.made_of[found[role]] = origins
                self.tensors[found[role]] = TensorInfo(array.shape[1:], array.dtype.name)
        return {
            side: FoundCell(f"{name} ({side})", ONNX, names[k], options[k])
            for k, side in enumerate(sides)
        }

    def _options(self, node: _Node, count: int) -> tuple[list[CellOptions], str | None]:
        given = node.attributes
        unknown = sorted(set(given) - _KNOWN)
        if unknown:
            return [_DEFAULTS] * count, f"unknown attributes: {', '.join(unknown)}"
        if given.get("input_forget", 0):
            return [_DEFAULTS] * count, "input_forget=1 (coupled gates), which is not run"
        if "clip" in given:
            return [_DEFAULTS] * count, (
                f"clip={given['clip']}, which limits what goes into the activations; not run"
            )
        try:
            return _activations(given, count), None
        except LoadError as error:
            return [_DEFAULTS] * count, str(error)

    def _initial_state(self, node: _Node, cells: dict[str, FoundCell]) -> str | None:
        """A constant initial state other than zeros belongs to the model, which has none."""
        for role in ("initial_h", "initial_c"):
            origins: set[str] = set()
            given = node.input(role)
            value = node.values.get(given, origins) if given else None
            if value is not None and np.any(value):
                return f"a constant {role} ({given!r}); load another export and pass initial_state"
            for cell in cells.values():  # zeros are used up
                self.made_of[cell.names["W"]] = self.made_of[cell.names["W"]] | origins
        return None

    def origins(self, name: str) -> set[str]:
        return self.made_of.get(name, set())

    def read(self, name: str) -> Array:
        value = self.arrays[name]
        if value.dtype.name not in ("float16", "bfloat16", "float32", "float64"):
            raise self.error(f"{name}: expected floating point, got {value.dtype}")
        return value.astype(np.float64 if value.dtype.itemsize == 8 else np.float32)


def _activations(given: dict[str, Any], count: int) -> list[CellOptions]:
    """Per direction: f opens the gates, g and h (which must be one here) make new values.

    Parameters are consumed in order by the functions that have them, as by ONNX Runtime.
    """
    names = [name.decode("utf-8", "replace") for name in given.get("activations", [])]
    if not names:
        return [_DEFAULTS] * count
    if len(names) != 3 * count:
        raise LoadError(f"{len(names)} activations for {count} directions; expected 3 each")
    alphas, betas = list(given.get("activation_alpha", [])), list(given.get("activation_beta", []))
    found = [_activation(name, alphas, betas) for name in names]
    options = []
    for f, g, h in (found[3 * k : 3 * k + 3] for k in range(count)):
        if g != h:
            raise LoadError(f"different activations for new values ({g}) and outputs ({h})")
        if f not in ("sigmoid", "hard_sigmoid", "hard_sigmoid_keras3"):
            raise LoadError(f"activation {f} for the gates, which has no kernel")
        options.append(CellOptions(0.0, g, f))
    return options


def _activation(name: str, alphas: list[float], betas: list[float]) -> str:
    lower = {known.lower(): known for known in (*_PLAIN, *_WITH_ALPHA, *_WITH_BOTH)}
    name = lower.get(name.lower(), name)
    if name in _PLAIN:
        return _PLAIN[name]
    alpha = alphas.pop(0) if alphas else None
    if name in _WITH_BOTH:
        beta = betas.pop(0) if betas else _WITH_BOTH[name][1]
        alpha = _WITH_BOTH[name][0] if alpha is None else alpha
        if name == "HardSigmoid" and np.isclose(beta, 0.5):
            for slope, known in ((0.2, "hard_sigmoid"), (1 / 6, "hard_sigmoid_keras3")):
                if np.isclose(alpha, slope):
                    return known
        if name in ("Affine", "ScaledTanh") and (alpha, beta) == (
            1.0,
            0.0 if name == "Affine" else 1.0,
        ):
            return "linear" if name == "Affine" else "tanh"
        raise LoadError(f"activation {name}(alpha={alpha}, beta={beta}), which has no kernel")
    alpha = _WITH_ALPHA.get(name) if alpha is None else alpha
    if name == "Elu" and alpha == 1.0:
        return "elu"
    if name == "LeakyRelu" and alpha is not None and np.isclose(alpha, 0.2):
        return "leaky_relu"
    raise LoadError(f"activation {name}(alpha={alpha}), which has no kernel")


def _stacked(found: Sequence[tuple[_Node, FoundModel]]) -> list[FoundModel]:
    """Nodes of which one reads the other's outputs, and nothing else does anything to them."""
    by_output = {node.node.output[0]: k for k, (node, _) in enumerate(found) if node.node.output}
    below: dict[int, int] = {}
    for k, (node, _) in enumerate(found):
        source = _layer_below(node, by_output)
        if source is not None and source not in below.values():
            below[k] = source
    models = []
    for k, (_, top) in enumerate(found):
        if k in below.values():
            continue
        run = [top]
        while k in below:
            k = below[k]
            run.insert(0, found[k][1])
        models.append(
            FoundModel(
                "+".join(part.scope for part in run),
                tuple(layer for part in run for layer in part.layers),
                tuple(dict.fromkeys(note for part in run for note in part.notes)),
                next((part.problem for part in run if part.problem), None),
            )
        )
    return models


def _layer_below(node: _Node, by_output: dict[str, int]) -> int | None:
    """The LSTM whose Y [T, D, N, H] comes here as [T, N, D H], through the usual reshaping."""
    name, steps = node.input("X"), []
    while name not in by_output:
        producer = node.values.producer(name)
        if producer is None or producer.op_type not in (
            "Squeeze",
            "Transpose",
            "Reshape",
            "Identity",
            "Dropout",
        ):
            return None
        if producer.op_type == "Transpose":
            perm = [list(a.ints) for a in producer.attribute if a.name == "perm"]
            if perm != [[0, 2, 1, 3]]:
                return None
        if producer.op_type == "Reshape":
            shape = node.values.get(producer.input[1], set())
            if shape is None or shape.shape != (3,) or shape[2] == 0:
                return None
        if producer.op_type in ("Squeeze", "Transpose", "Reshape"):
            steps.append(producer.op_type)
        name = producer.input[0]
        if len(steps) > 2:
            return None
    return by_output[name] if steps in (["Squeeze"], ["Reshape", "Transpose"]) else None
