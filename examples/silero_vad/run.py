"""Finds speech in sound as it arrives, with silero-vad's network and no torch.

    python examples/silero_vad/run.py

fetches the published package `silero-vad` and Debian's spoken test clips, streams each clip by
512 samples, prints where there is speech and draws a picture. Exit codes: 0 done, 1 onnxruntime
disagrees (with --check), 2 wrong use, 3 a file is broken, 4 a package is missing.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import registry

try:
    import clips
    from network import CHUNK, CONTEXT, RATE, Detector, Network

    from lstmcore import LoadError
except ImportError as missing:
    print(f'error: {missing}\nInstall first: pip install ".[onnx]"', file=sys.stderr)
    sys.exit(4)

# The release that this example was checked against.
SILERO = "silero-vad==6.2.3"
_SPEECH = 0.5
_BOUND = 1e-6  # between our probabilities and those of float64


def detect(network: Network, samples: np.ndarray) -> np.ndarray:
    """The probability of speech in each chunk, as they arrive."""
    detector = Detector(network)
    return np.array([detector.push(chunk) for chunk in _chunks(samples)])


def _chunks(samples: np.ndarray) -> np.ndarray:
    return samples[: len(samples) // CHUNK * CHUNK].reshape(-1, CHUNK)


def strip(probabilities: np.ndarray) -> str:
    """One character for each chunk of 32 ms: # for speech."""
    return "".join("#" if p >= _SPEECH else "." for p in probabilities)


def in_onnxruntime(model: Path, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From onnxruntime, all chunks at once: the probabilities, and what its LSTM read."""
    import onnx
    import onnxruntime

    graph = onnx.load(str(model))
    (lstm,) = (node for node in graph.graph.node if node.op_type == "LSTM")
    graph.graph.output.append(onnx.helper.make_tensor_value_info(lstm.input[0], 1, None))
    rows = _chunks(samples)
    before = np.concatenate([np.zeros((1, CONTEXT), np.float32), rows[:-1, -CONTEXT:]])
    zeros = np.zeros((1, 1, 128), np.float32)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    feed = {"input": np.concatenate([before, rows], axis=1), "h": zeros, "c": zeros}
    probabilities, features = session.run(["speech_probs", lstm.input[0]], feed)
    return np.ravel(probabilities), np.reshape(features, (1, -1, 128))


def check(network: Network, model: Path, sounds: dict[str, np.ndarray]) -> bool:
    """Whether our probabilities are those of float64 and, from its features, onnxruntime's."""
    exactly = Network(model, "float64")
    exact = {name: detect(exactly, samples) for name, samples in sounds.items()}
    found = {name: detect(network, samples) for name, samples in sounds.items()}
    ours = max(np.abs(found[name] - exact[name]).max() for name in sounds)
    print(f"from float64: {ours:.1e} at most (bound {_BOUND:.0e})")
    try:
        theirs = {name: in_onnxruntime(model, samples) for name, samples in sounds.items()}
    except ImportError:
        print("not compared with onnxruntime: it is not installed")
        return bool(ours <= _BOUND)
    apart, between, rounding = 0.0, 0.0, 0.0
    for name, (probabilities, features) in theirs.items():
        after = [network.probability(output) for output in network.lstm(features)[0]]
        apart = max(apart, np.abs(after - probabilities).max())
        between = max(between, np.abs(found[name] - probabilities).max())
        rounding = max(rounding, np.abs(exact[name] - probabilities).max())
    print(f"from onnxruntime: {apart:.1e} where our LSTM reads its features (bound {_BOUND:.0e}),")
    print(f"  {between:.1e} from the sound on, of which it is {rounding:.1e} from float64 itself")
    return bool(ours <= _BOUND and apart <= _BOUND and between <= rounding + _BOUND)


def draw(sounds: dict[str, np.ndarray], found: dict[str, np.ndarray], path: Path) -> None:
    """Each clip's waveform, with the probability over it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(found), 1, figsize=(9, 1.1 * len(found) + 0.6), sharex=True, layout="constrained"
    )
    for axis, (name, probabilities) in zip(np.atleast_1d(axes), found.items(), strict=True):
        samples = sounds[name]
        loudest = np.abs(samples).max() or 1.0
        axis.plot(np.arange(len(samples)) / RATE, samples / loudest, color="0.75", linewidth=0.5)
        edges = np.arange(len(probabilities) + 1) * CHUNK / RATE
        axis.stairs(probabilities, edges, color="tab:blue", linewidth=1.5, zorder=3)
        axis.set(ylim=(-1.05, 1.1), yticks=[0, 1])
        axis.set_ylabel(name.replace("_", "\n"), rotation=0, ha="right", va="center")
    axes[0].set_title("Probability of speech (blue) over the sound, by chunks of 32 ms")
    axes[-1].set_xlabel("seconds")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> int:
    """Run the example; returns the exit code."""
    options = _parse(arguments)
    try:
        if not (options.package_dir / "silero_vad").is_dir():
            advice = "Unpack its wheel elsewhere and pass that folder as --package-dir."
            registry.fetch_wheels(SILERO, options.package_dir, ["--no-deps"], advice)
        if not options.clips.is_dir():
            clips.fetch(options.clips)
        registry.provide_matplotlib(options.package_dir)
        return _run(options)
    except registry.PackageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    except (LoadError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Find speech with silero-vad's LSTM.")
    folder = registry.default_folder("silero-vad")
    parser.add_argument("--check", action="store_true", help="compare with onnxruntime")
    parser.add_argument(
        "--out", type=Path, default=Path("silero_vad.png"), metavar="FILE",
        help="the picture: .png, .svg or .pdf (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--clips", type=Path, default=folder.with_name("alsa-clips"), metavar="DIR",
        help="where the .wav files are, or are put (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--package-dir", type=Path, default=folder, metavar="DIR",
        help="where the package silero-vad is, or is put (default: %(default)s)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.out.suffix not in (".png", ".svg", ".pdf"):
        parser.error(f"--out must end in .png, .svg or .pdf, got {options.out}")
    return options


def _run(options: argparse.Namespace) -> int:
    model = options.package_dir / "silero_vad" / "data" / "silero_vad_16k_sequence.onnx"
    network = Network(model)
    sounds = {path.stem: clips.read(path) for path in sorted(options.clips.glob("*.wav"))}
    if not sounds:
        raise ValueError(f"{options.clips} holds no .wav files")
    found, begun = {}, time.perf_counter()
    for name, samples in sounds.items():
        found[name] = detect(network, samples)
        print(f"{name:<14} {strip(found[name])}")
    seconds = time.perf_counter() - begun
    heard = sum(map(len, found.values())) * CHUNK / RATE
    print(f"{heard:.1f} s of sound in {seconds:.2f} s: {heard / seconds:.0f} times real time")
    draw(sounds, found, options.out)
    print(f"Picture: {options.out}")
    return 0 if not options.check or check(network, model, sounds) else 1


if __name__ == "__main__":
    sys.exit(main())
