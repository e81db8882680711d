"""A ``state_dict`` that is in memory already: torch's, or any mapping of names to arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lstmcore.arrays import Array, as_array
from lstmcore.checkpoint.tensor_types import widen_bfloat16
from lstmcore.formats import torch_names
from lstmcore.formats.source import Source, TensorInfo


@dataclass
class MemorySource(Source):
    """Raises TypeError for values that are no arrays."""

    arrays: Mapping[str, Any] = field(default_factory=dict)
    separator: str = "."

    def __post_init__(self) -> None:
        self.tensors = {
            str(name): TensorInfo(tuple(value.shape), str(value.dtype).removeprefix("torch."))
            for name, value in self.arrays.items()
            if hasattr(value, "shape") and hasattr(value, "dtype")
        }
        self.models = torch_names.find_models(self.tensors)

    def read(self, name: str) -> Array:
        value = self.arrays[name]
        if hasattr(value, "detach"):  # a torch tensor, which knows no bfloat16 in NumPy
            value = value.detach().cpu()
            value = value if self.tensors[name].dtype == "float64" else value.float()
            value = value.numpy()
        array = as_array(value, name)
        if array.dtype.name == "bfloat16":
            return widen_bfloat16(array.view(np.uint16))
        if array.dtype.kind != "f":
            raise self.error(f"{name}: expected floating point, got {array.dtype}")
        return array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32)
