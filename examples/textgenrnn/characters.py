"""textgenrnn's network (Max Woolf, 2018): the last 40 characters -> probabilities of the next one.

The two LSTM layers are lstmcore's, the rest is NumPy.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

import lstmcore

Array = NDArray[np.float32]
Predict = Callable[[NDArray[np.int64]], Array]  # codes [WINDOW] to probabilities [classes]

WINDOW = 40  # characters that the network sees
META = "<s>"  # stands before and after every text

_KERAS_EPSILON = 1e-7


class Network:
    """Embedding, two LSTM layers, attention over all of these, and a softmax over characters."""

    def __init__(self, weights: Path) -> None:
        self._rnn_1 = lstmcore.load(weights, scope="rnn_1")
        self._rnn_2 = lstmcore.load(weights, scope="rnn_2")
        with h5py.File(weights) as file:
            self._embedding: Array = file["embedding/embedding/embeddings:0"][:]
            self._attention: Array = file["attention/attention/attention_W:0"][:]
            self._kernel: Array = file["output/output/kernel:0"][:]
            self._bias: Array = file["output/output/bias:0"][:]

    def __call__(self, codes: NDArray[np.int64]) -> Array:
        # Nothing is masked: the network was trained to read code 0 before the start like any other.
        embedded = self._embedding[codes][np.newaxis]
        first = self._rnn_1(embedded)
        second = self._rnn_2(first)
        features = np.concatenate([embedded, first, second], axis=2)[0]
        return _softmax(attend(features, self._attention) @ self._kernel + self._bias)


def attend(features: Array, weights: Array) -> Array:
    """The average of features [T, F] over time, each step weighted by softmax(features @ weights).

    weights [F, 1]. Returns [F].
    """
    return _softmax((features @ weights)[:, 0], _KERAS_EPSILON) @ features


def _softmax(logits: Array, epsilon: float = 0.0) -> Array:
    powers = np.exp(logits - logits.max())
    return powers / (powers.sum() + np.float32(epsilon))


class Writer:
    """Writes texts, one character after the other."""

    def __init__(self, vocabulary: Path) -> None:
        self._codes: dict[str, int] = json.loads(vocabulary.read_text(encoding="utf8"))
        self._characters = {code: character for character, code in self._codes.items()}

    def window(self, text: list[str]) -> NDArray[np.int64]:
        """The codes of the last WINDOW characters; zeros where the text is shorter, before it."""
        codes = [self._codes.get(character, 0) for character in text[-WINDOW:]]
        return np.array([0] * (WINDOW - len(codes)) + codes)

    def write(self, predict: Predict, length: int, temperature: float = 0.0, seed: int = 0) -> str:
        """A text of at most `length` characters; at temperature 0 always the most probable one."""
        random = np.random.default_rng(seed)
        text = [META]
        while len(text) <= length:
            code = choose(predict(self.window(text)), temperature, random)
            if self._characters[code] == META:
                break
            text.append(self._characters[code])
        return "".join(text[1:])


def choose(probabilities: Array, temperature: float, random: np.random.Generator) -> int:
    """A code drawn with `probabilities` to the power of 1/temperature, never 0, the padding."""
    logs = np.log(probabilities[1:].astype(np.float64) + _KERAS_EPSILON)
    if temperature == 0:
        return 1 + int(logs.argmax())
    return 1 + int(random.choice(len(logs), p=_softmax(logs / temperature)))
