"""Constants of an ONNX graph: initialisers, and what a few operators make of them.

Exporters put weights behind Unsqueeze, Concat or Transpose; these are computed here, on arrays that
the file holds, so nothing gets larger than the file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lstmcore.arrays import Array
from lstmcore.checkpoint.paths import is_file
from lstmcore.errors import LoadError, UnsafeFile

_MAX_CHAIN = 64


class Values:
    """The constants of one graph, over those of the graphs around it."""

    def __init__(self, onnx: Any, path: str, graph: Any, outer: Values | None) -> None:
        self._onnx, self._path, self._outer = onnx, path, outer
        self.initializers = {t.name: t for t in getattr(graph, "initializer", ())}
        self.producers = {name: node for node in graph.node for name in node.output if name}

    def producer(self, name: str) -> Any:
        """The node that computes ``name``, here or in a graph around; None for none."""
        values: Values | None = self
        while values is not None:
            if name in values.initializers:
                return None
            if name in values.producers:
                return values.producers[name]
            values = values._outer
        return None

    def get(self, name: str, origins: set[str], depth: int = 0) -> Array | None:
        """The constant ``name``, None where it is none; adds the initialisers that it is made of.

        Raises LoadError for one that is broken or in a file that may not be read.
        """
        if depth > _MAX_CHAIN:
            return None
        if name in self.initializers:
            origins.add(name)
            return self._tensor(self.initializers[name])
        node = self.producers.get(name)
        if node is None:
            return self._outer.get(name, origins, depth) if self._outer is not None else None
        if node.op_type == "Constant" and len(node.attribute) == 1:
            return self._constant(node.attribute[0])
        fold = _FOLDED.get(node.op_type)
        if fold is None or node.domain not in ("", "ai.onnx"):
            return None
        inputs = []
        for given in node.input:
            value = self.get(given, origins, depth + 1) if given else None
            if value is None and given:
                return None
            inputs.append(value)
        attributes = {a.name: self._onnx.helper.get_attribute_value(a) for a in node.attribute}
        try:
            return fold(inputs, attributes)
        except Exception as error:
            raise LoadError(
                f"{self._path}: {node.op_type} {name!r} of constants: {error}"
            ) from None

    def _constant(self, attribute: Any) -> Array | None:
        value = self._onnx.helper.get_attribute_value(attribute)
        if attribute.name == "value":
            return self._tensor(value)
        kinds = {"value_float": np.float32, "value_int": np.int64}
        kinds |= {"value_floats": np.float32, "value_ints": np.int64}
        return np.asarray(value, kinds[attribute.name]) if attribute.name in kinds else None

    def _tensor(self, tensor: Any) -> Array:
        try:
            if tensor.data_location == self._onnx.TensorProto.EXTERNAL:
                return self._external(tensor)
            return np.asarray(self._onnx.numpy_helper.to_array(tensor))
        except LoadError:
            raise
        except Exception as error:
            raise LoadError(f"{self._path}: tensor {tensor.name!r}: {error}") from None

    def _external(self, tensor: Any) -> Array:
        """A tensor in a file beside the model, and nowhere else."""
        what = f"{self._path}: tensor {tensor.name!r}"
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        folder = os.path.realpath(os.path.dirname(self._path) or ".")
        file = os.path.realpath(os.path.join(folder, location))
        inside = not os.path.isabs(location) and os.path.commonpath([folder, file]) == folder
        if not location or not inside:
            raise UnsafeFile(f"{what} is in {location!r}, outside the model's folder; refused")
        if not is_file(file):
            raise LoadError(f"{what} is in {location!r}, which is no file there")
        dtype = np.dtype(self._onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        offset, size = int(entries.get("offset", 0)), math.prod(tensor.dims) * dtype.itemsize
        if int(entries.get("length", size)) != size or offset < 0 or size < 0:
            raise LoadError(f"{what}: shape {tuple(tensor.dims)} needs {size} bytes")
        if offset + size > os.path.getsize(file):
            raise LoadError(f"{what}: {location!r} ends before byte {offset + size}: truncated")
        with open(file, "rb") as data:
            data.seek(offset)
            return np.frombuffer(data.read(size), dtype).reshape(tuple(tensor.dims))


def _axes(inputs: Sequence[Any], attributes: dict[str, Any]) -> tuple[int, ...] | None:
    if len(inputs) > 1 and inputs[1] is not None:
        return tuple(int(axis) for axis in np.atleast_1d(inputs[1]))
    return tuple(attributes["axes"]) if "axes" in attributes else None


def _slice(inputs: Sequence[Any], attributes: dict[str, Any]) -> Array:
    if len(inputs) == 1:  # before opset 10
        starts, ends = attributes["starts"], attributes["ends"]
        axes, steps = attributes.get("axes", range(len(starts))), [1] * len(starts)
    else:
        starts, ends = (np.atleast_1d(v).tolist() for v in inputs[1:3])
        axes = (
            inputs[3].tolist() if len(inputs) > 3 and inputs[3] is not None else range(len(starts))
        )
        steps = (
            inputs[4].tolist() if len(inputs) > 4 and inputs[4] is not None else [1] * len(starts)
        )
    index: list[Any] = [slice(None)] * inputs[0].ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 1:
            raise ValueError(f"steps of {step} are not read")
        index[axis] = slice(start, end, step)
    return np.asarray(inputs[0][tuple(index)])


def _reshape(inputs: Sequence[Any], attributes: dict[str, Any]) -> Array:
    array, wanted = inputs[0], [int(n) for n in np.atleast_1d(inputs[1])]
    if not attributes.get("allowzero", 0):
        wanted = [array.shape[k] if n == 0 else n for k, n in enumerate(wanted)]
    return np.asarray(array.reshape(wanted))


_FOLDED: dict[str, Callable[[Sequence[Any], dict[str, Any]], Array]] = {
    "Identity": lambda inputs, _: inputs[0],
    "Unsqueeze": lambda inputs, given: np.expand_dims(inputs[0], _axes(inputs, given) or ()),
    "Squeeze": lambda inputs, given: np.squeeze(inputs[0], _axes(inputs, given)),
    "Concat": lambda inputs, given: np.concatenate(inputs, axis=given["axis"]),
    "Transpose": lambda inputs, given: np.transpose(inputs[0], given.get("perm")),
    "Reshape": _reshape,
    "Slice": _slice,
}
