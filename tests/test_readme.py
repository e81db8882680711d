"""The README's Python runs as printed there, and its links lead somewhere."""

from __future__ import annotations

import re

import numpy as np
import pytest

import checkpoint_writer
import pages
from lstmcore import LSTM, to_torch

ROOT = pages.ROOT
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts),
]


def test_python_blocks_print_what_they_say(tmp_path, monkeypatch):
    random = np.random.default_rng(3)
    weights = {
        "rnn/lstm_cell/kernel": random.standard_normal((356, 400), np.float32) / 16,
        "rnn/lstm_cell/bias": random.standard_normal(400, np.float32),
    }
    checkpoint_writer.write(tmp_path / "model.ckpt-158301", weights)
    monkeypatch.chdir(tmp_path)
    model = LSTM(40, 128, num_layers=2, bidirectional=True, seed=1)
    pytest.importorskip("safetensors.numpy").save_file(to_torch(model), "model.pt")
    after = pages.run("README.md", apart=True)
    assert len(after) == 4
    outputs = after[2]["outputs"]
    assert outputs.shape == (8, 50, 100)
    assert outputs[0].any()
    assert not outputs[1, 7:].any()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(document):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target
