"""The model that is part of the package: its file, what it has learnt, and how it writes."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from lstmcore.app.character_model import PACKAGED_MODEL, CharacterModel, load_model
from lstmcore.errors import CheckpointError

# The last sentence of Persuasion, in the part of the text that training did not see.
HELD_OUT = (
    "She gloried in being a sailor's wife, but she must pay the tax of quick alarm for belonging "
    "to that profession which is, if possible, more distinguished in its domestic virtues than in "
    "its national importance."
)
LOSS_BOUND = 1.60  # nats per character

COMMON_WORDS = re.compile(
    r"\b(the|to|and|of|a|her|i|in|was|it|she|that|not|be|he|you|had|as|his|for|with|but|is|have|at|on|"
    r"my|all|him|been|so|could|very|which|by|no|would|do|were|from|they|this|or|an|what|will|there|"
    r"your|said|me|if|when|them|their|more|one|such|must|any)\b"
)


@pytest.fixture(scope="module")
def model() -> CharacterModel:
    return load_model()


def changed(path: Path, **arrays: np.ndarray) -> CharacterModel:
    """The packaged model with some arrays replaced, through a file as load_model reads it."""
    with np.load(PACKAGED_MODEL, allow_pickle=False) as packaged:
        np.savez(path, **{**packaged, **arrays})
    return load_model(path)


def test_the_file_is_small_plain_and_says_where_its_text_is_from() -> None:
    assert PACKAGED_MODEL.stat().st_size < 300_000
    with np.load(PACKAGED_MODEL, allow_pickle=False) as file:
        assert file["kernel"].dtype == np.float16
        assert "Jane Austen" in str(file["source"])


def test_it_predicts_a_sentence_it_has_not_seen(model: CharacterModel) -> None:
    assert model.loss(HELD_OUT) < LOSS_BOUND


@pytest.mark.parametrize(
    "order", [o for o in itertools.permutations(range(4)) if o != (0, 1, 2, 3)]
)
def test_the_bound_catches_any_other_gate_order(order: tuple[int, ...], tmp_path: Path) -> None:
    with np.load(PACKAGED_MODEL) as packaged:
        kernel, bias = packaged["kernel"], packaged["bias"]
    gates = np.arange(len(bias)).reshape(4, -1)[list(order)].ravel()
    wrong = changed(tmp_path / "wrong.npz", kernel=kernel[:, gates], bias=bias[gates])
    assert wrong.loss(HELD_OUT) > LOSS_BOUND


def test_the_forget_bias_in_the_file_is_the_one_it_needs(
    model: CharacterModel, tmp_path: Path
) -> None:
    for forget_bias in (0.0, 2.0):
        wrong = changed(tmp_path / "wrong.npz", forget_bias=np.float32(forget_bias))
        assert wrong.loss(HELD_OUT) > model.loss(HELD_OUT) + 0.02


def test_the_loss_is_that_of_a_plain_numpy_lstm(model: CharacterModel) -> None:
    with np.load(PACKAGED_MODEL) as file:
        arrays = {
            name: file[name].astype(np.float64) for name in file if file[name].dtype.kind == "f"
        }
    num_units = model.num_units
    c, h = np.zeros(num_units), np.zeros(num_units)
    total = 0.0
    for current, following in itertools.pairwise(model.positions(HELD_OUT)):
        row = np.concatenate([np.eye(len(model.alphabet))[current], h])
        i, j, f, o = np.split(row @ arrays["kernel"] + arrays["bias"], 4)
        keep, write, show = (1 / (1 + np.exp(-gate)) for gate in (f + arrays["forget_bias"], i, o))
        c = keep * c + write * np.tanh(j)
        h = show * np.tanh(c)
        logits = h @ arrays["output_kernel"] + arrays["output_bias"]
        total += np.log(np.exp(logits).sum()) - logits[following]
    assert model.loss(HELD_OUT) == pytest.approx(total / (len(HELD_OUT) - 1), abs=1e-5)


def written(model: CharacterModel, temperature: float, seed: int, length: int = 400) -> str:
    return "".join(itertools.islice(model.write("She had never", temperature, seed), length))


def test_the_seed_decides_the_text(model: CharacterModel) -> None:
    assert written(model, 0.6, seed=5) == written(load_model(), 0.6, seed=5)
    assert written(model, 0.6, seed=5) != written(model, 0.6, seed=6)


def test_temperature_zero_is_the_likeliest_and_the_limit(model: CharacterModel) -> None:
    assert written(model, 0.0, seed=5, length=60) == written(model, 0.0, seed=6, length=60)
    assert written(model, 0.0, seed=5, length=60) == written(model, 1e-320, seed=6, length=60)


def test_the_text_is_recognisably_english(model: CharacterModel) -> None:
    text = written(model, 0.5, seed=3, length=3000).lower()
    assert len(COMMON_WORDS.findall(text)) > 0.4 * len(re.findall(r"[a-z]+", text))


def test_a_character_it_does_not_know_is_named(model: CharacterModel) -> None:
    with pytest.raises(ValueError, match="no '\u00e9'"):
        model.positions("caf\u00e9")
    with pytest.raises(ValueError, match="at least 2 characters"):
        model.loss("I")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"kernel": np.ones((7, 8), np.float32)}, r"kernel has shape \(7, 8\)"),
        ({"bias": np.ones(4, np.int64)}, "bias should be floating point"),
        ({"alphabet": np.float32(1)}, "alphabet should be text"),
        ({"output_bias": np.full(3, np.nan)}, "output_bias"),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(
    arrays: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message):
        changed(tmp_path / "wrong.npz", **arrays)


def test_a_folder_and_a_single_array_are_no_model(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.ones(3))
    for path in (tmp_path, tmp_path / "array.npy"):
        with pytest.raises(CheckpointError, match="model file"):
            load_model(path)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "missing.npz")
