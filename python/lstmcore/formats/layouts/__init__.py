"""The layouts that frameworks store LSTM weights in, and the way to the canonical one and back."""

from lstmcore.formats.layouts.base import Layout, LayoutError, Shapes, Sizes
from lstmcore.formats.layouts.keras import CUDNN, KERAS
from lstmcore.formats.layouts.onnx import ONNX
from lstmcore.formats.layouts.tensorflow import TENSORFLOW
from lstmcore.formats.layouts.torch import TORCH

ALL = (TENSORFLOW, KERAS, CUDNN, TORCH, ONNX)

__all__ = [
    "ALL",
    "CUDNN",
    "KERAS",
    "ONNX",
    "TENSORFLOW",
    "TORCH",
    "Layout",
    "LayoutError",
    "Shapes",
    "Sizes",
]
