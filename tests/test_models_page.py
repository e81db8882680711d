"""The Python of docs/models.md runs, and prints what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import lstmcore

PAGE = Path(__file__).parents[1] / "docs" / "models.md"


def test_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("safetensors", "onnx"):
        pytest.importorskip(package)
    numpy = pytest.importorskip("safetensors.numpy")
    monkeypatch.chdir(tmp_path)
    # What the page opens is a .pt file there; the content decides, so this one may be another.
    tensors = {
        **lstmcore.to_torch(lstmcore.LSTM(5, 4, 2, seed=1), "encoder."),
        **lstmcore.to_torch(lstmcore.LSTM(4, 3, seed=2), "decoder."),
    }
    numpy.save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, "tagger.pt")
    namespace: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        capsys.readouterr()
        exec(block, namespace)
        promised = re.findall(r"^print\(.*\n# (.*)$", block, re.MULTILINE)
        assert capsys.readouterr().out.splitlines() == promised
    assert {path.name for path in tmp_path.iterdir()} >= {"tagger.safetensors", "tagger.onnx"}
