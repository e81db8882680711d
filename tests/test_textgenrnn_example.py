"""examples/textgenrnn end to end; marked `network`, as its package comes from the registry."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "examples" / "textgenrnn" / "run.py"
LIKELIEST = "[Specific] Can someone please remove the state of the state of the state"


@pytest.mark.network
def test_the_text_is_the_one_that_keras_writes() -> None:
    pytest.importorskip("h5py")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--check", "--samples", "1"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode == 4 and "could not fetch" in done.stderr:
        pytest.skip(f"the package registry is not reachable: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].removeprefix("likeliest").strip().startswith(LIKELIEST)
    assert "characters per second" in done.stdout
    assert "not compared" in lines[-1] or "Keras writes the same text" in lines[-1]


def test_a_folder_without_the_package_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    (tmp_path / "textgenrnn").mkdir()
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--package-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 4
    assert "holds no textgenrnn==2.0.0" in done.stderr
