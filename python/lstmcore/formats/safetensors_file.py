"""``.safetensors``: PyTorch's names, or a model that this package wrote."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lstmcore.arrays import Array
from lstmcore.checkpoint.tensor_types import widen_bfloat16
from lstmcore.formats import torch_names
from lstmcore.formats.files import optional
from lstmcore.formats.source import Source, TensorInfo

_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


@dataclass
class SafetensorsSource(Source):
    """Opens the file at ``path`` and reads its header. Raises LoadError, MissingExtra."""

    separator: str = "."
    metadata: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        package = optional("safetensors", "safetensors", "reading .safetensors")
        try:
            self._file: Any = package.safe_open(self.path, framework="np")
            self.metadata = dict(self._file.metadata() or {})
            for name in list(self._file.keys()):
                view = self._file.get_slice(name)
                kind = view.get_dtype()
                self.tensors[name] = TensorInfo(
                    tuple(view.get_shape()), _TYPES.get(kind, kind.lower())
                )
        except Exception as error:
            raise self.error(f"no .safetensors file: {error}") from None
        self.models = torch_names.find_models(self.tensors)

    def read(self, name: str) -> Array:
        info = self.tensors[name]
        if info.dtype not in ("float64", "float32", "float16", "bfloat16"):
            raise self.error(f"tensor {name!r}: expected floating point, got {info.dtype}")
        if info.dtype == "bfloat16":
            return widen_bfloat16(self._raw(name, info))
        try:
            value = np.asarray(self._file.get_tensor(name))
        except Exception as error:
            raise self.error(f"tensor {name!r}: {error}") from None
        return value.astype(np.float64 if info.dtype == "float64" else np.float32, copy=False)

    def close(self) -> None:
        self._file = None

    def _raw(self, name: str, info: TensorInfo) -> Array:
        """The bits of a bfloat16 tensor, for which the library needs another package.

        It has checked the header: eight bytes of length, JSON with the places, then the data.
        """
        with open(self.path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            begin, end = json.loads(file.read(length))[name]["data_offsets"]
            file.seek(8 + length + begin)
            return np.frombuffer(file.read(end - begin), "<u2").reshape(info.shape)
