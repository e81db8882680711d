"""examples/silero_vad end to end; marked `network`, as model and clips come from registries."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "examples" / "silero_vad" / "run.py"


def words(strip: str) -> int:
    """Runs of speech; a pause of one or two chunks is inside a word, one chunk alone is none."""
    joined = re.sub(r"(?<=#)\.{1,2}(?=#)", lambda gap: "#" * len(gap[0]), strip)
    return sum(len(run) > 2 for run in re.findall("#+", joined))


@pytest.mark.network
def test_each_clip_has_its_words(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    picture = tmp_path / "picture.png"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--check", "--out", str(picture)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode == 4:
        pytest.skip(f"model or clips cannot be had: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr + done.stdout
    strips = dict(re.findall(r"^(\w+) +([.#]+)$", done.stdout, re.MULTILINE))
    assert len(strips) == 9
    assert {name: words(strip) for name, strip in strips.items()} == {
        name: 0 if name == "Noise" else 2 for name in strips
    }
    assert "from float64" in done.stdout
    assert "not compared" in done.stdout or "from onnxruntime" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
