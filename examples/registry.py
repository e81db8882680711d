"""Fetches the packages that the examples need, with pip, into a cache folder of the user.

Nothing of them is part of lstmcore.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

# Seconds until pip gives up on a silent registry, and on a whole download.
_SILENCE, _DOWNLOAD = 15, 900


class PackageError(Exception):
    """A package could not be fetched, or is not what an example expects."""


def default_folder(example: str) -> Path:
    """The user's cache folder for an example, on every platform."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "lstmcore" / example


def provide_matplotlib(beside: Path) -> None:
    """Make matplotlib importable, fetched into a folder next to `beside` if not installed."""
    if importlib.util.find_spec("matplotlib"):
        return
    folder = beside.with_name(beside.name + "-matplotlib")
    if not (folder / "matplotlib").is_dir():
        fetch_wheels("matplotlib", folder, [], "The picture is drawn with matplotlib.")
    # At the end, so that the NumPy that came with it stays in the shadow of the one in use.
    sys.path.append(str(folder))


def fetch_wheels(requirement: str, folder: Path, options: Sequence[str], advice: str) -> None:
    """Install wheels into `folder`, which appears only once it is complete.

    Raises PackageError with pip's own last words when that fails.
    """
    command = ["install", "--no-compile", "--only-binary", ":all:", *options, "--target"]
    _fetch(requirement, folder, command, advice, unpack=False)


def fetch_source(requirement: str, sha256: str, folder: Path, advice: str) -> None:
    """Unpack a source distribution into `folder`, which appears only once it is complete.

    pip runs its setup.py to learn its name: so it must be the very archive that was looked at.
    Raises PackageError with pip's own last words when that fails.
    """
    command = ["download", "--no-deps", "--no-binary", ":all:", "--dest"]
    with tempfile.TemporaryDirectory() as work:
        pinned = Path(work) / "requirements.txt"
        pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
        _fetch(requirement, folder, command, advice, unpack=True, asked=["-r", str(pinned)])


def _fetch(
    requirement: str,
    folder: Path,
    command: Sequence[str],
    advice: str,
    *,
    unpack: bool,
    asked: Sequence[str] = (),
) -> None:
    print(f"Fetching {requirement} from PyPI, once, into {folder}", file=sys.stderr, flush=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=folder.name + "-", dir=folder.parent))
    except OSError as error:
        raise PackageError(f"cannot write to {folder.parent}: {error}") from error
    pip = [sys.executable, "-m", "pip", command[0], "--quiet", "--no-input"]
    pip += ["--disable-pip-version-check", "--retries", "1", "--timeout", str(_SILENCE)]
    pip += [*command[1:], str(partial), *(asked or [requirement])]
    try:
        done = subprocess.run(pip, capture_output=True, text=True, timeout=_DOWNLOAD, check=False)
        if done.returncode != 0:
            words = done.stderr.strip().splitlines() or ["(pip said nothing)"]
            raise PackageError(
                f"pip could not fetch {requirement}: {words[-1]}\n"
                f"Is the package registry reachable? {advice}"
            )
        if unpack:
            _unpack(partial)
        _move_into_place(partial, folder)
    except subprocess.TimeoutExpired as error:
        raise PackageError(
            f"pip could not fetch {requirement} within {_DOWNLOAD} s. {advice}"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unpack(folder: Path) -> None:
    """Replace the one archive in `folder` by what is in its top folder."""
    (archive,) = folder.iterdir()
    with tarfile.open(archive) as content:
        for member in content.getmembers():
            inside = (folder / member.name).resolve().is_relative_to(folder.resolve())
            if member.isfile() and inside:
                content.extract(member, folder)
    archive.unlink()
    (top,) = folder.iterdir()
    for path in list(top.iterdir()):
        path.rename(folder / path.name)
    top.rmdir()


def _move_into_place(partial: Path, folder: Path) -> None:
    """Give the finished download its name; whoever was first wins when two runs fetch at once."""
    try:
        if folder.is_dir():
            folder.rmdir()  # only when empty
        partial.rename(folder)
    except OSError as error:
        if not (folder.is_dir() and any(folder.iterdir())):
            raise PackageError(f"cannot fill {folder}: {error}") from error
