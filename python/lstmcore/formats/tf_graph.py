"""Frozen TensorFlow 1 graphs (``.pb``): the constants that variables were turned into.

A GraphDef (TensorFlow's ``graph.proto``, ``node_def.proto``, ``tensor.proto``) is walked field by
field; nothing of the graph is run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from lstmcore.arrays import Array
from lstmcore.checkpoint.tensor_types import DTYPES, DType, widen_bfloat16
from lstmcore.checkpoint.wire import parse_message
from lstmcore.errors import LoadError
from lstmcore.formats import tf_names
from lstmcore.formats.files import read_file
from lstmcore.formats.source import Source, TensorInfo

_NODE, _NAME, _OP, _ATTRIBUTES = 1, 1, 2, 5
_KEY, _VALUE, _TENSOR = 1, 2, 8
_DTYPE, _SHAPE, _CONTENT, _FLOATS, _DOUBLES = 1, 2, 4, 5, 6
_FUNCTIONS = 2
_WEIGHT_TYPES = ("float32", "float64", "float16", "bfloat16")


class _Constant(NamedTuple):
    info: TensorInfo
    dtype: DType
    message: bytes


@dataclass
class GraphSource(Source):
    """Opens the graph at ``path``. Raises LoadError for what is none."""

    constants: dict[str, _Constant] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            graph = parse_message(read_file(self.path), self.path, blobs=(_NODE,))
            nodes = graph.blobs.get(_NODE, [])
            for node in nodes:
                self._take(node)
        except LoadError:
            raise
        except (ValueError, UnicodeDecodeError) as error:
            raise self.error(f"no TensorFlow graph: {error}") from None
        if not nodes:
            raise self.error("no TensorFlow graph: it has no nodes")
        self.tensors = {name: constant.info for name, constant in self.constants.items()}
        self.models = tf_names.find_models({name: name for name in self.tensors}, self.tensors)
        used = {name for model in self.models for name in model.names}
        # The graph's own constants (shapes, axes, the forget bias) are no weights.
        self.foreign = {
            name for name in self.tensors if name not in used and not self._is_weight(name)
        }

    def _is_weight(self, name: str) -> bool:
        info = self.tensors[name]
        return info.dtype in _WEIGHT_TYPES and math.prod(info.shape) > 1

    def _take(self, node: bytes) -> None:
        fields = parse_message(node, self.path, blobs=(_NAME, _OP, _ATTRIBUTES)).blobs
        if fields.get(_OP, [b""])[-1] != b"Const":
            return
        name = fields.get(_NAME, [b""])[-1].decode()
        for entry in fields.get(_ATTRIBUTES, []):
            pair = parse_message(entry, self.path, blobs=(_KEY, _VALUE)).blobs
            if pair.get(_KEY) != [b"value"] or _VALUE not in pair:
                continue
            value = parse_message(pair[_VALUE][-1], self.path, blobs=(_TENSOR,)).blobs
            if _TENSOR in value:
                self.constants[name] = self._constant(name, value[_TENSOR][-1])

    def _constant(self, name: str, message: bytes) -> _Constant:
        what = f"{self.path}: constant {name!r}"
        tensor = parse_message(message, what, varints=(_DTYPE,), blobs=(_SHAPE,))
        dtype = DTYPES.get(tensor.number(_DTYPE))
        if dtype is None:
            raise LoadError(f"{what}: dtype code {tensor.number(_DTYPE)} is not known")
        sizes = []
        for shape in tensor.blobs.get(_SHAPE, []):
            for axis in parse_message(shape, what, blobs=(2,)).blobs.get(2, []):
                sizes.append(parse_message(axis, what, varints=(1,)).number(1))
        if len(sizes) > 32 or any(size < 0 or size > 1 << 40 for size in sizes):
            raise LoadError(f"{what}: shape {tuple(sizes)[:40]} cannot be")
        return _Constant(TensorInfo(tuple(sizes), dtype.name), dtype, message)

    def read(self, name: str) -> Array:
        info, dtype, message = self.constants[name]
        what = f"{self.path}: constant {name!r}"
        if info.dtype not in _WEIGHT_TYPES or dtype.stored is None:
            raise LoadError(f"{what}: expected floating point, got {info.dtype}")
        fields = parse_message(message, what, blobs=(_CONTENT,)).blobs
        content, stored = b"".join(fields.get(_CONTENT, [])), dtype.stored
        if not content:
            content, stored = self._repeated(what, info, message)
        count = math.prod(info.shape)
        values = np.frombuffer(content[: len(content) // stored.itemsize * stored.itemsize], stored)
        if values.size != count:
            raise LoadError(f"{what}: shape {info.shape} has {count} values, got {values.size}")
        if info.dtype == "bfloat16":
            return widen_bfloat16(values).reshape(info.shape)
        wide = np.float64 if info.dtype == "float64" else np.float32
        return values.astype(wide).reshape(info.shape)

    def _repeated(
        self, what: str, info: TensorInfo, message: bytes
    ) -> tuple[bytes, np.dtype[np.generic]]:
        """Values in a packed list, whose last one stands for all that follow."""
        tag = {"float32": _FLOATS, "float64": _DOUBLES}.get(info.dtype)
        if tag is None:
            raise LoadError(f"{what}: {info.dtype} as a list of numbers is not read")
        content = b"".join(parse_message(message, what, blobs=(tag,)).blobs.get(tag, []))
        stored = np.dtype("<f4" if tag == _FLOATS else "<f8")
        if len(content) == stored.itemsize * math.prod(info.shape):
            return content, stored
        raise LoadError(
            f"{what}: {len(content)} bytes of values for shape {info.shape}; constants whose last "
            "value is repeated are no trained weights and are not read"
        )
