"""The README's Python runs as printed there, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import checkpoint_writer
from lstmcore import LSTM, to_torch
from lstmcore.variables.graph import Graph

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]


def test_python_blocks_print_what_they_say(tmp_path, monkeypatch, capsys):
    random = np.random.default_rng(3)
    weights = {
        "rnn/lstm_cell/kernel": random.standard_normal((356, 400), np.float32) / 16,
        "rnn/lstm_cell/bias": random.standard_normal(400, np.float32),
    }
    checkpoint_writer.write(tmp_path / "model.ckpt-158301", weights)
    monkeypatch.chdir(tmp_path)
    model = LSTM(40, 128, num_layers=2, bidirectional=True, seed=1)
    pytest.importorskip("safetensors.numpy").save_file(to_torch(model), "model.pt")
    assert len(BLOCKS) == 4
    left = []
    for block in BLOCKS:
        names: dict[str, object] = {}
        left.append(names)
        with Graph().as_default():
            exec(block, names)
        promised = re.findall(r"^# (.+)$", block, re.MULTILINE)
        assert capsys.readouterr().out.splitlines() == promised
    outputs = left[2]["outputs"]
    assert outputs.shape == (8, 50, 100)
    assert outputs[0].any()
    assert not outputs[1, 7:].any()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target
