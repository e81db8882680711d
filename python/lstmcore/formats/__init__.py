"""Model files of every framework: ``load``, ``open_models``, and writers."""

from lstmcore.formats.loading import load, open_models
from lstmcore.formats.saving import save, to_keras, to_onnx, to_tensorflow, to_torch

__all__ = ["load", "open_models", "save", "to_keras", "to_onnx", "to_tensorflow", "to_torch"]
