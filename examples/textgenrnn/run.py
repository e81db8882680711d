"""Writes text with textgenrnn's published Keras weights, on lstmcore's LSTM layers.

    python examples/textgenrnn/run.py

Exit codes: 0 done, 1 --check found a difference, 2 wrong use, 3 a file is broken, 4 a package is
missing and could not be fetched.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import sdist

try:
    import characters
    import numpy as np
except ImportError as missing:
    print(f"error: {missing}\nInstall lstmcore first: pip install '.[keras]'", file=sys.stderr)
    sys.exit(4)

_LENGTH = 299  # characters of a text at most, as in textgenrnn
_TEMPERATURE, _SAMPLES = 0.5, 3
_CHECKED_STEPS, _TOLERANCE = 40, 1e-4


def main(arguments: list[str] | None = None) -> int:
    """Run the example; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write text with textgenrnn's network.")
    parser.add_argument("--seed", type=int, default=1, help="of the samples (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="compare with Keras 2 instead")
    parser.add_argument(
        "--package-dir", type=Path, default=sdist.default_folder(), metavar="DIR",
        help="where the weights are, or are put (default: %(default)s)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        weights, vocabulary = sdist.find(options.package_dir)
        network, writer = characters.Network(weights), characters.Writer(vocabulary)
        if options.check:
            return _check(network, writer, weights)
        _print_texts(network, writer, options.seed)
    except sdist.PackageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    except (ValueError, KeyError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


def _print_texts(network: characters.Network, writer: characters.Writer, seed: int) -> None:
    start = time.perf_counter()
    texts = [writer.write(network, _LENGTH)]
    print(f"Always the most probable character:\n\n{texts[0]}\n")
    print(f"Temperature {_TEMPERATURE}:\n")
    for sample in range(seed, seed + _SAMPLES):
        texts.append(writer.write(network, _LENGTH, _TEMPERATURE, sample))
        print(f"{texts[-1]}\n")
    count = sum(map(len, texts))
    print(f"{count} characters, {count / (time.perf_counter() - start):.0f} per second")


def _check(network: characters.Network, writer: characters.Writer, weights: Path) -> int:
    import in_keras

    text = writer.write(network, _LENGTH)
    read = [characters.META, *text]
    windows = [writer.window(read[:step]) for step in range(1, _CHECKED_STEPS + 1)]
    keras = in_keras.network(weights, len(network(windows[0])))
    difference = max(float(np.abs(network(w) - keras(w)).max()) for w in windows)
    equal = writer.write(keras, _LENGTH) == text
    print(f"Text of {len(text)} characters: {'equal' if equal else 'NOT equal'} in Keras")
    print(f"Probabilities of {_CHECKED_STEPS} steps: largest difference {difference:.1e}")
    return 0 if equal and difference <= _TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
