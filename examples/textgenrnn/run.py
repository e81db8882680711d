"""Writes text with textgenrnn's weights: Keras's CuDNN layout, and no Keras.

    python examples/textgenrnn/run.py

fetches the published package `textgenrnn`, loads its two LSTM layers and writes. Exit codes: 0
done, 1 Keras writes another text (with --check), 3 a file is broken, 4 a package is missing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import registry

try:
    import h5py

    import lstmcore
except ImportError as missing:
    print(f'error: {missing}\nInstall first: pip install ".[keras]"', file=sys.stderr)
    sys.exit(4)

# The release that this example was checked against.
TEXTGENRNN = "textgenrnn==2.0.0"
_SHA256 = "c2b6f1c201c76d5a6021079e95a8db499bbe15d9f3448d33cb51c0cd496c86f8"
WINDOW = 40  # characters that the network sees
EDGE = "<s>"  # begins and ends a text
_LONGEST = 300


class Network:
    """Embedding, two LSTM layers, attention over all of them, and a softmax over characters."""

    def __init__(self, folder: Path) -> None:
        path = folder / "textgenrnn" / "textgenrnn_weights.hdf5"
        if not path.is_file():
            raise registry.PackageError(f"{folder} holds no {TEXTGENRNN}: {path} is missing")
        # The layers lie side by side in the file, so each is loaded by its name.
        self.lower = lstmcore.load(path, scope="rnn_1")
        self.upper = lstmcore.load(path, scope="rnn_2")
        with h5py.File(path, "r") as file:
            self.embeddings = file["embedding/embedding/embeddings:0"][()]
            self.attention = file["attention/attention/attention_W:0"][()]
            self.kernel = file["output/output/kernel:0"][()]
            self.bias = file["output/output/bias:0"][()]
        vocabulary = json.loads(path.with_name("textgenrnn_vocab.json").read_text("utf-8"))
        self.numbers: dict[str, int] = vocabulary
        self.characters = {number: character for character, number in vocabulary.items()}

    def window(self, text: list[str]) -> np.ndarray:
        """The numbers [1, WINDOW] of the last characters; 0 stands for what is missing before."""
        known = [self.numbers.get(character, 0) for character in text[-WINDOW:]]
        return np.array([[0] * (WINDOW - len(known)) + known])

    def probabilities(self, text: list[str]) -> np.ndarray:
        """Of each character to come next, by its number."""
        embedded = self.embeddings[self.window(text)]
        lower = self.lower(embedded)
        upper = self.upper(lower)
        seen = np.concatenate([embedded, lower, upper], axis=2)[0]
        weights = np.exp(seen @ self.attention - (seen @ self.attention).max())
        summary = (seen * (weights / weights.sum())).sum(axis=0)
        logits = summary @ self.kernel + self.bias
        exponentials = np.exp(logits - logits.max())
        return exponentials / exponentials.sum()

    def write(self, temperature: float, random: np.random.Generator) -> str:
        """A text; temperature 0 takes the likeliest character each time."""
        text = [EDGE]
        while len(text) < _LONGEST:
            probabilities = self.probabilities(text).astype(np.float64)
            probabilities[0] = 0.0  # the character for what is missing
            if temperature > 0:
                sharpened = probabilities ** (1 / temperature)
                number = int(random.choice(len(sharpened), p=sharpened / sharpened.sum()))
            else:
                number = int(probabilities.argmax())
            text.append(self.characters[number])
            if text[-1] == EDGE:
                return "".join(text[1:-1])
        return "".join(text[1:])


def keras_probabilities(folder: Path, windows: np.ndarray) -> np.ndarray:
    """What Keras 2 makes of windows [N, WINDOW], with its own conversion of CuDNN's layout."""
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tf_keras as keras
    except ImportError:
        from tensorflow import keras
    if getattr(keras, "__version__", "2").startswith("3"):
        raise ImportError("Keras 3 does not read this layout")
    layers: Any = keras.layers
    given = layers.Input((WINDOW,))
    embedded = layers.Embedding(465, 100, name="embedding")(given)
    lower = layers.LSTM(128, return_sequences=True, name="rnn_1")(embedded)
    upper = layers.LSTM(128, return_sequences=True, name="rnn_2")(lower)
    seen = layers.concatenate([embedded, lower, upper])
    model = keras.Model(given, seen)
    path = folder / "textgenrnn" / "textgenrnn_weights.hdf5"
    model.load_weights(path, by_name=True)
    with h5py.File(path, "r") as file:
        attention = file["attention/attention/attention_W:0"][()]
        kernel, bias = file["output/output/kernel:0"][()], file["output/output/bias:0"][()]
    values = np.asarray(model(windows))
    weights = np.exp(values @ attention - (values @ attention).max(axis=1, keepdims=True))
    summary = (values * (weights / weights.sum(axis=1, keepdims=True))).sum(axis=1)
    exponentials = np.exp(summary @ kernel + bias)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def check(network: Network, folder: Path, text: str) -> bool:
    """Whether Keras, shown the same text, would have written the same characters."""
    characters = [EDGE, *text, EDGE]
    prefixes = [characters[:k] for k in range(1, len(characters))]
    try:
        theirs = keras_probabilities(folder, np.concatenate([network.window(p) for p in prefixes]))
    except ImportError:
        print("not compared: Keras 2 (tf_keras, or TensorFlow before 2.16) is not installed")
        return True
    ours = np.stack([network.probabilities(prefix) for prefix in prefixes])
    same = bool((ours[:, 1:].argmax(axis=1) == theirs[:, 1:].argmax(axis=1)).all())
    gap = float(np.abs(ours - theirs).max())
    verdict = "the same" if same else "ANOTHER"
    print(f"Keras writes {verdict} text; its probabilities differ by {gap:.1e} at most")
    return same and gap < 1e-4


def main(arguments: list[str] | None = None) -> int:
    """Run the example; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write text with textgenrnn's LSTM.")
    parser.add_argument("--samples", type=int, default=3, metavar="N", help="texts to draw")
    parser.add_argument("--seed", type=int, default=4, metavar="N", help="of the drawn texts")
    parser.add_argument("--check", action="store_true", help="compare with Keras 2")
    parser.add_argument(
        "--package-dir", type=Path, default=registry.default_folder("textgenrnn"), metavar="DIR",
        help="where the package is, or is put (default: %(default)s)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        if not (options.package_dir / "textgenrnn").is_dir():
            advice = "Unpack its archive elsewhere and pass that folder as --package-dir."
            registry.fetch_source(TEXTGENRNN, _SHA256, options.package_dir, advice)
        network = Network(options.package_dir)
    except registry.PackageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    except (lstmcore.LoadError, OSError, KeyError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    random, begun = np.random.default_rng(options.seed), time.perf_counter()
    likeliest = network.write(0.0, random)
    print(f"likeliest   {likeliest}")
    texts = [network.write(0.5, random) for _ in range(options.samples)]
    for text in texts:
        print(f"drawn       {text}")
    written = sum(map(len, [likeliest, *texts]))
    speed = written / (time.perf_counter() - begun)
    print(f"{speed:,.0f} characters per second, each from a window of {WINDOW}")
    return 0 if not options.check or check(network, options.package_dir, likeliest) else 1


if __name__ == "__main__":
    sys.exit(main())
