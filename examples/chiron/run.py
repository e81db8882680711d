"""Reads DNA letters from a nanopore's current: a TensorFlow 1 checkpoint on lstmcore's LSTM cells.

    python examples/chiron/run.py

fetches the published `chiron` package, runs its network on the read that comes with it, compares
the letters with the recorded ones and draws a picture. Exit codes: 0 done, 2 wrong use, 3 a file is
broken or cannot be written, 4 a package is missing and could not be fetched.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import package

try:
    import ctc
    import network
    import picture

    from lstmcore import CheckpointError
except ImportError as missing:
    print(f"error: {missing}\nInstall lstmcore first: pip install .", file=sys.stderr)
    sys.exit(4)

_BATCH = 20  # segments that go through the network together
_PICTURED = 8  # segments that the picture shows


def main(arguments: list[str] | None = None) -> int:
    """Run the example; returns the exit code."""
    options = _parse(arguments)
    try:
        files = package.find_chiron(options.package_dir)
        package.provide_matplotlib(options.package_dir)
        _run(files, options)
    except package.PackageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    except (CheckpointError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Read DNA from a nanopore's current: chiron's network on lstmcore's LSTM cells."
    )
    parser.add_argument(
        "--segments", type=_positive, default=40, metavar="N",
        help="how many segments of read 1 to read, 161 being all (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--beam", type=_positive, default=30, metavar="WIDTH",
        help="prefixes that the CTC search keeps; the recording used %(default)s (default)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("chiron.png"), metavar="FILE",
        help="the picture: .png, .svg or .pdf (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--package-dir", type=Path, default=package.default_folder(), metavar="DIR",
        help="where the chiron package is, or is put (default: %(default)s)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.out.suffix not in (".png", ".svg", ".pdf"):
        parser.error(f"--out must end in .png, .svg or .pdf, got {options.out}")
    if not options.out.resolve().parent.is_dir():
        parser.error(f"--out {options.out}: there is no folder {options.out.resolve().parent}")
    return options


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _run(files: package.Chiron, options: argparse.Namespace) -> None:
    signal = network.normalise(network.read_signal(files.signal))
    segments, lengths = network.cut(signal, options.segments)
    recorded = _read_letters(files.letters)
    if len(recorded) < len(segments):
        raise ValueError(f"{files.letters}: {len(recorded)} texts for {len(segments)} segments")
    model = network.Network(files.checkpoint)

    spent = {"convolutions": 0.0, "LSTM layers": 0.0, "CTC search": 0.0}
    texts: list[str] = []
    rows: list[picture.Row] = []
    _progress(0, len(segments))
    for first in range(0, len(segments), _BATCH):
        batch = slice(first, first + _BATCH)
        with _clock(spent, "convolutions"):
            features = model.features(segments[batch])
        with _clock(spent, "LSTM layers"):
            states = model.states(features, lengths[batch])
        log_probs = ctc.log_softmax(model.logits(states))
        for index, row in enumerate(log_probs, start=first):
            row = row[: lengths[index]]
            with _clock(spent, "CTC search"):
                labels = ctc.beam_search(row, options.beam)
            texts.append("".join(network.LETTERS[label] for label in labels))
            if index < _PICTURED:
                starts = ctc.align(row, labels)
                samples = segments[index, : lengths[index]]
                remark = _remark(texts[index], recorded[index])
                title = f"segment {index + 1}"
                rows.append(picture.Row(title, samples, texts[index], starts, remark))
            _progress(index + 1, len(segments))

    equal = _report(texts, recorded)
    print("Time: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in spent.items()))
    subtitle = (
        f"Read 1, first {len(rows)} segments. Chiron's network, its LSTM layers run by lstmcore; "
        f"{equal} of {len(texts)} segments equal the recording."
    )
    picture.save(options.out, rows, "From nanopore current to DNA letters", subtitle)
    print(f"Picture: {options.out}")


def _read_letters(path: Path) -> list[str]:
    """The recorded text of every segment: a `>name` line and a line of letters each."""
    lines = path.read_text().split()
    texts = lines[1::2]
    if not all(name.startswith(">") for name in lines[::2]) or set("".join(texts)) - set("ACGT"):
        raise ValueError(f"{path} does not hold one line of letters A, C, G, T per segment")
    return texts


def _report(texts: list[str], recorded: list[str]) -> int:
    """Print how the texts differ from the recording; returns how many are equal."""
    pairs = list(zip(texts, recorded, strict=False))
    equal = sum(text == expected for text, expected in pairs)
    print(f"{equal} of {len(pairs)} segments equal the recording.")
    for number, (text, expected) in enumerate(pairs, start=1):
        if text != expected:
            print(f"  segment {number}: {_remark(text, expected)}")
            print(f"    recorded {expected}\n    read     {text}")
    letters = sum(len(expected) for _, expected in pairs)
    edits = sum(edit_distance(text, expected) for text, expected in pairs)
    print(f"Letters: {letters} recorded, edit distance {edits} in all.")
    return equal


def _remark(text: str, expected: str) -> str:
    distance = edit_distance(text, expected)
    return f"edit distance {distance}" if distance else "as recorded"


def edit_distance(a: str, b: str) -> int:
    """The fewest letters to insert, delete or change that make `a` into `b` (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        corner, row[0] = row[0], i
        for j, right in enumerate(b, start=1):
            change = corner + (left != right)
            corner, row[j] = row[j], min(change, row[j] + 1, row[j - 1] + 1)
    return row[-1]


@contextmanager
def _clock(spent: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    spent[name] += time.perf_counter() - start


def _progress(done: int, total: int) -> None:
    """A bar on the terminal; nothing when the output goes elsewhere."""
    if sys.stderr.isatty():
        filled = 40 * done // total
        bar = "#" * filled + "." * (40 - filled)
        end = "\n" if done == total else ""
        print(f"\r[{bar}] {done}/{total} segments", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
