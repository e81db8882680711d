"""The Python of the documentation runs, and prints what the pages say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import lstmcore
import pages

TESTED_ELSEWHERE = {"migrating.md"}
RUN_HERE = {"gpu.md", "models.md", "performance.md", "streams.md", "threads.md", "tutorial.md"}


def test_every_page_with_python_is_run() -> None:
    found = {
        path.name
        for path in (pages.ROOT / "docs").rglob("*.md")
        if "_build" not in path.parts and "```python" in path.read_text()
    }
    assert found == RUN_HERE | TESTED_ELSEWHERE


@pytest.mark.parametrize("page", sorted(RUN_HERE))
def test_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("safetensors", "onnx"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    if page == "models.md":
        write_tagger()
    threads = lstmcore.get_num_threads()
    try:
        pages.run(f"docs/{page}")
    finally:
        lstmcore.set_num_threads(threads)
    if page == "models.md":
        written = {path.name for path in tmp_path.iterdir()}
        assert written >= {"tagger.safetensors", "tagger.onnx"}


def write_tagger() -> None:
    """What docs/models.md calls a .pt file; the content decides, so this may be another."""
    tensors = {
        **lstmcore.to_torch(lstmcore.LSTM(5, 4, 2, seed=1), "encoder."),
        **lstmcore.to_torch(lstmcore.LSTM(4, 3, seed=2), "decoder."),
    }
    numpy = pytest.importorskip("safetensors.numpy")
    numpy.save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, "tagger.pt")


def test_design_draws_the_levels_that_there_are() -> None:
    page = (pages.ROOT / "docs" / "design.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == {
        "generic",
        *re.findall(
            r"extern const Kernels kernels_(\w+);", (pages.ROOT / "src/cpu/isa.cpp").read_text()
        ),
    }
