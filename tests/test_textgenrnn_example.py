"""The parts of examples/textgenrnn that need no download; marked `network`, it end to end."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("h5py", reason="examples/textgenrnn needs h5py, which is not installed")

EXAMPLE = Path(__file__).parents[1] / "examples" / "textgenrnn"
sys.path.insert(0, str(EXAMPLE))

import characters  # noqa: E402
import sdist  # noqa: E402

GREEDY = "[Specific] Can someone please remove the state of the state"


@pytest.fixture
def writer(tmp_path):
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps({"<s>": 1, "a": 2, "b": 3}))
    return characters.Writer(path)


def test_a_short_text_is_padded_on_the_left_and_a_long_one_cut(writer):
    assert writer.window(["<s>", "b", "?"]).tolist() == [0] * 37 + [1, 3, 0]
    assert writer.window(["<s>", *"a" * 39, "b"]).tolist() == [2] * 39 + [3]


def test_a_text_ends_at_its_length_or_at_the_meta_token(writer):
    always_b = np.array([0.9, 0, 0, 0.1], np.float32)
    assert writer.write(lambda window: always_b, 5) == "bbbbb"  # 0, the padding, is never written
    after = {1: 2, 2: 3, 3: 1}  # "<s>", "a", "b", "<s>"
    assert writer.write(lambda window: np.eye(4, dtype=np.float32)[after[window[-1]]], 5) == "ab"


def test_a_seed_repeats_its_text(writer):
    even = np.full(4, 0.25, np.float32)
    texts = {writer.write(lambda window: even, 60, 0.5, seed) for seed in (1, 1, 2)}
    assert len(texts) == 2


def test_a_low_temperature_prefers_the_probable():
    probabilities = np.array([0, 0.2, 0.8], np.float32)
    random = np.random.default_rng(3)
    drawn = [characters.choose(probabilities, 0.5, random) for _ in range(4000)]
    assert np.mean(np.array(drawn) == 1) == pytest.approx(0.2**2 / (0.2**2 + 0.8**2), abs=0.015)


def test_attention_is_a_weighted_average():
    features = np.array([[1, 0], [0, 5]], np.float32)
    weights = np.array([[np.log(3)], [0]], np.float32)
    np.testing.assert_allclose(characters.attend(features, weights), [0.75, 1.25], rtol=1e-6)


def start(*arguments, **options):
    command = [sys.executable, str(EXAMPLE / "run.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, **options)


def test_a_folder_without_weights_exits_with_4(tmp_path):
    done = start("--package-dir", tmp_path)
    assert done.returncode == 4
    assert "textgenrnn_weights.hdf5 is missing" in done.stderr


def test_broken_weights_exit_with_3(tmp_path):
    for name in (sdist.WEIGHTS, sdist.VOCABULARY):
        (tmp_path / name).write_text("{}")
    done = start("--package-dir", tmp_path)
    assert done.returncode == 3
    assert "textgenrnn_weights.hdf5" in done.stderr


def test_an_unreachable_registry_leaves_no_trace(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(sdist.PackageError, match=r"pip could not fetch textgenrnn-2\.0\.0"):
        sdist.find(tmp_path / "cache" / "textgenrnn")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.network
def test_the_most_probable_text_end_to_end(request):
    cache = Path(request.config.cache.mkdir("textgenrnn")) / "package"
    done = start("--package-dir", cache)
    refusal = [line for line in done.stderr.splitlines() if "could not fetch" in line]
    if done.returncode == 4 and refusal:
        pytest.skip(f"the package registry is not reachable: {refusal[0]}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2].startswith(GREEDY)
