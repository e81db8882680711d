"""Files of every kind behind one function."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

from lstmcore.formats import files
from lstmcore.formats.source import Source

# Kind of file (``files.sniff``) to the module and class that reads it, and how people call it.
_READERS = {
    "checkpoint": ("tf_checkpoint", "CheckpointSource", "TensorFlow checkpoint V2"),
    "saved_model": ("tf_checkpoint", "CheckpointSource", "TensorFlow SavedModel variables"),
    "graph": ("tf_graph", "GraphSource", "TensorFlow frozen graph"),
    "hdf5": ("keras_file", "KerasSource", "Keras HDF5"),
    "keras_zip": ("keras_file", "KerasZipSource", "Keras .keras"),
    "torch_zip": ("torch_file", "TorchZipSource", "PyTorch"),
    "torch_stream": ("torch_file", "TorchStreamSource", "PyTorch, stream of before 1.6"),
    "safetensors": ("safetensors_file", "SafetensorsSource", "safetensors"),
    "onnx": ("onnx_file", "OnnxSource", "ONNX"),
}


def open_source(file: Any) -> Source:
    """The LSTM models of a file, or of a ``state_dict`` in memory, found but not read yet.

    Raises LoadError (UnsafeFile) for what cannot be read, MissingExtra where a package is needed,
    TypeError for what is neither a path nor a mapping.
    """
    if isinstance(file, Mapping):
        from lstmcore.formats.memory import MemorySource

        return MemorySource("state_dict", "state_dict in memory", arrays=file)
    try:
        path = os.fsdecode(file)
    except TypeError:
        raise TypeError(
            f"file: expected a path or a state_dict, got {type(file).__name__}"
        ) from None
    kind = files.sniff(path)
    module, name, text = _READERS[kind]
    if kind == "saved_model":
        path = os.path.join(path, "variables", "variables")
    reader = getattr(importlib.import_module(f"lstmcore.formats.{module}"), name)
    source: Source = reader(path, text)
    return source
