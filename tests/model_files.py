"""The model files of tests/golden/models (made by make_models.py), and how each is to be loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "golden" / "models"


@dataclass(frozen=True)
class ModelFile:
    """``expected`` is the .npz with the framework's outputs; ``needs`` a package to read it."""

    file: str
    expected: str
    needs: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return FOLDER / self.file

    @property
    def values(self) -> dict[str, np.ndarray]:
        with np.load(FOLDER / f"{self.expected}.npz") as arrays:
            return dict(arrays)


def _keras(version: int, endings: tuple[str, ...]) -> list[ModelFile]:
    cases = []
    for name in ("stack", "bidirectional", "hard", "tagger"):
        for ending in endings:
            stem = f"keras{version}_{name}"
            config = not ending.startswith(("_weights", ".weights"))
            arguments: dict[str, Any] = {}
            if name == "tagger":
                arguments["scope"] = "rnn"
            if name == "hard" and not config:
                variant = "hard_sigmoid" if version == 2 else "hard_sigmoid_keras3"
                arguments |= {"activation": "softsign", "recurrent_activation": variant}
            if name in ("stack", "bidirectional") and not config:
                below, above = ("low", "high") if name == "stack" else ("both", "above")
                arguments["scope"] = [below, above]
            cases.append(ModelFile(stem + ending, stem, "h5py", arguments))
    return cases


CASES = [
    ModelFile("torch_zip.pt", "torch_zip"),
    ModelFile("torch_stream.pt", "torch_stream"),
    ModelFile("torch_flavoured.safetensors", "torch_flavoured", "safetensors"),
    ModelFile("torch_projected.pth", "torch_projected"),
    ModelFile("torch_nested.pt", "torch_nested"),
    ModelFile(
        "torch_training.pt",
        "torch_training",
        None,
        {"scope": "model_state_dict.encoder"},
    ),
    ModelFile("torch_cell.pt", "torch_cell"),
    ModelFile("torch_bfloat16.pt", "torch_bfloat16"),
    ModelFile("torch_bfloat16.safetensors", "torch_bfloat16", "safetensors"),
    ModelFile("torch_float16.pt", "torch_float16"),
    ModelFile("torch_float16.safetensors", "torch_float16", "safetensors"),
    ModelFile("torch_float64.pt", "torch_float64"),
    ModelFile("onnx_bidirectional_peepholes.onnx", "onnx_bidirectional_peepholes", "onnx"),
    ModelFile("onnx_reverse.onnx", "onnx_reverse", "onnx"),
    ModelFile("onnx_batch_first.onnx", "onnx_batch_first", "onnx"),
    ModelFile("onnx_if.onnx", "onnx_if", "onnx"),
    ModelFile("onnx_constants.onnx", "onnx_constants", "onnx"),
    ModelFile("onnx_activations.onnx", "onnx_activations", "onnx"),
    ModelFile("onnx_exported_dynamo.onnx", "onnx_exported_dynamo", "onnx"),
    ModelFile("onnx_exported_script.onnx", "onnx_exported_script", "onnx"),
    *_keras(2, (".h5", "_weights.h5")),
    *_keras(3, (".h5", ".keras", ".weights.h5")),
    ModelFile("keras2_cudnn_weights.h5", "keras2_cudnn_weights", "h5py"),
    ModelFile("keras2_saved_model", "keras2_saved_model"),
    ModelFile("tf_frozen.pb", "tf_frozen", None, {"forget_bias": 1.0}),
    ModelFile("tf_bidirectional", "tf_bidirectional", None, {"forget_bias": 1.0}),
    ModelFile("tf_saved_model", "tf_saved_model", None, {"forget_bias": 1.0}),
]
BY_FILE = {case.file: case for case in CASES}
