"""What a Keras config says is done, or refused by name; nothing in it is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcore
from lstmcore import LoadError
from lstmcore.formats.keras_config import lstm_layers
from model_files import FOLDER

h5py = pytest.importorskip("h5py")


def lstm(name: str, **config: Any) -> dict[str, Any]:
    full = {"name": name, "units": 3, "return_sequences": True, **config}
    return {"class_name": "LSTM", "config": full, "name": name}


def dropout(name: str) -> dict[str, Any]:
    return {"class_name": "Dropout", "config": {"name": name}, "name": name}


def sequential(*layers: dict[str, Any]) -> str:
    return json.dumps({"class_name": "Sequential", "config": {"layers": list(layers)}})


def functional(inputs: dict[str, list[str]], *layers: dict[str, Any]) -> str:
    for layer in layers:
        layer["inbound_nodes"] = [[[name, 0, 0, {}] for name in inputs[layer["name"]]]]
    return json.dumps({"class_name": "Functional", "config": {"layers": list(layers)}})


def below(text: str) -> dict[str, str | None]:
    return {name: layer.below for name, layer in lstm_layers(text, "2.15", "f").items()}


class TestStacks:
    def test_dropout_between_changes_nothing(self) -> None:
        text = sequential(lstm("a"), dropout("d"), lstm("b"), lstm("c"))
        assert below(text) == {"a": None, "b": "a", "c": "b"}

    def test_other_layers_between_part_them(self) -> None:
        dense = {"class_name": "Dense", "config": {"name": "dense"}}
        assert below(sequential(lstm("a"), dense, lstm("b"))) == {"a": None, "b": None}

    def test_a_layer_that_gives_its_last_output_only(self) -> None:
        text = sequential(lstm("a", return_sequences=False), lstm("b"))
        assert below(text) == {"a": None, "b": None}

    def test_a_layer_that_others_read_too(self) -> None:
        inputs = {"a": ["x"], "b": ["a"], "joined": ["a", "b"]}
        join = {"class_name": "Concatenate", "config": {"name": "joined"}, "name": "joined"}
        assert below(functional(inputs, lstm("a"), lstm("b"), join)) == {"a": None, "b": None}

    def test_a_functional_chain(self) -> None:
        inputs = {"a": ["x"], "d": ["a"], "b": ["d"]}
        assert below(functional(inputs, lstm("a"), dropout("d"), lstm("b"))) == {
            "a": None,
            "b": "a",
        }

    def test_a_layer_with_a_state_from_elsewhere(self) -> None:
        inputs = {"a": ["x"], "b": ["a", "h", "c"]}
        assert below(functional(inputs, lstm("a"), lstm("b"))) == {"a": None, "b": None}

    def test_models_inside_models(self) -> None:
        inner = json.loads(sequential(lstm("a"), lstm("b")))
        inner["config"]["name"] = "encoder"
        assert below(sequential(inner, lstm("c"))) == {"a": None, "b": "a", "c": None}


def rnn(cell: dict[str, Any], **config: Any) -> dict[str, Any]:
    return {"class_name": "RNN", "config": {"name": "a", "cell": cell, **config}, "name": "a"}


def test_rnn_over_a_cell() -> None:
    cell = {"class_name": "LSTMCell", "config": {"units": 3, "activation": "relu"}}
    text = sequential(rnn(cell, return_sequences=True), lstm("b"))
    found = lstm_layers(text, "3.0", "f")
    assert (found["a"].activation, found["a"].returns_sequences) == ("relu", True)
    assert found["b"].below == "a"


PROBLEMS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown keys": (lstm("a", magic=3), "its config has magic, which are not known"),
    "no kernel": (lstm("a", activation="gelu"), "activation 'gelu', which has no fused kernel"),
    "gates": (lstm("a", recurrent_activation="relu"), "recurrent_activation 'relu'"),
    "code": (
        lstm("a", activation={"class_name": "Custom", "config": {"f": "os.system"}}),
        "code of the model's own",
    ),
    "cells in one RNN": (
        rnn({"class_name": "StackedRNNCells", "config": {"cells": []}}),
        "several cells in one RNN layer",
    ),
    "merge mode": (
        {
            "class_name": "Bidirectional",
            "config": {"name": "a", "merge_mode": "sum", "layer": lstm("inner")},
        },
        "merge_mode 'sum'; only 'concat' is run",
    ),
    "backward layer": (
        {
            "class_name": "Bidirectional",
            "config": {
                "name": "a",
                "layer": lstm("one"),
                "backward_layer": lstm("two", activation="relu"),
            },
        },
        "its directions have different activations",
    ),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_refused(case: str) -> None:
    layer, message = PROBLEMS[case]
    found = lstm_layers(sequential(layer), "2.15", "f")["a"]
    assert found.problem is not None
    assert message in found.problem


@pytest.mark.parametrize(
    ("version", "activation"),
    [("2.15.0", "hard_sigmoid"), ("3.1", "hard_sigmoid_keras3"), ("1.2.2", "hard_sigmoid")],
)
def test_hard_sigmoid_by_version(version: str, activation: str) -> None:
    layer = lstm("a", recurrent_activation="hard_sigmoid")
    assert lstm_layers(sequential(layer), version, "f")["a"].recurrent_activation == activation


def changed(tmp_path: Path, change: Any) -> Path:
    """keras2_hard.h5 with another config."""
    path = tmp_path / "model.h5"
    path.write_bytes((FOLDER / "keras2_hard.h5").read_bytes())
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        change(config["config"]["layers"][-1]["config"])
        file.attrs["model_config"] = json.dumps(config)
    return path


def test_go_backwards(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda config: config.update(go_backwards=True))
    model, plain = lstmcore.load(path), lstmcore.load(FOLDER / "keras2_hard.h5")
    assert model.layers[0].forward is None
    x = np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)
    assert np.array_equal(model(x), plain(np.ascontiguousarray(x[:, ::-1]))[:, ::-1])


def test_a_problem_stops_loading(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda config: config.update(activation="gelu"))
    with pytest.raises(LoadError, match="layer 'hard' has activation 'gelu'"):
        lstmcore.load(path)


def test_weights_that_the_config_does_not_describe(tmp_path: Path) -> None:
    """Their activations would be a guess."""
    path = changed(tmp_path, lambda config: config.update(name="another"))
    with pytest.raises(LoadError, match="the model's config describes no LSTM layer 'hard'"):
        lstmcore.load(path)


def test_a_gru_is_no_lstm(tmp_path: Path) -> None:
    path = tmp_path / "gru.h5"
    with h5py.File(path, "w") as file:
        file["gru/gru/kernel:0"] = np.zeros((5, 12), np.float32)
        file["gru/gru/recurrent_kernel:0"] = np.zeros((4, 12), np.float32)
        file["gru/gru/bias:0"] = np.zeros(12, np.float32)
    with pytest.raises(LoadError, match="no LSTM in this file"):
        lstmcore.load(path)
