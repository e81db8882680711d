"""The same network in Keras 2, whose own code reads the weights and converts them from cuDNN."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from characters import WINDOW, Predict
from sdist import PackageError


def network(weights: Path, classes: int) -> Predict:
    """Raises PackageError without Keras 2."""
    keras = _keras()

    class Attention(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.W = self.add_weight(name="attention_W", shape=(shape[-1], 1))

        def call(self, x: Any) -> Any:
            scores = keras.backend.exp(keras.backend.dot(x, self.W))
            total = keras.backend.sum(scores, axis=1)
            return keras.backend.sum(x * scores, axis=1) / total

    layers = keras.layers
    codes = keras.Input((WINDOW,), name="input")
    embedded = layers.Embedding(classes, 100, name="embedding")(codes)
    first = layers.LSTM(128, return_sequences=True, name="rnn_1")(embedded)
    second = layers.LSTM(128, return_sequences=True, name="rnn_2")(first)
    features = layers.concatenate([embedded, first, second], name="rnn_concat")
    attended = Attention(name="attention")(features)
    output = layers.Dense(classes, activation="softmax", name="output")(attended)
    model = keras.Model(codes, output)
    model.load_weights(str(weights), by_name=True)
    return lambda window: model(window[None]).numpy()[0]


def _keras() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        try:
            import tf_keras as keras
        except ImportError:
            from tensorflow import keras
        version = getattr(keras, "__version__", "2")  # TensorFlow 2.15's says none
    except ImportError as missing:
        raise PackageError(f"--check needs Keras 2 (pip install tf_keras): {missing}") from missing
    if not version.startswith("2."):
        raise PackageError(f"--check needs Keras 2 (pip install tf_keras), found {version}")
    return keras
