"""Finds model and recorded read in the package that this example needs, fetched where it is not."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from registry import PackageError, fetch_wheels, provide_matplotlib
from registry import default_folder as cache_folder

__all__ = ["Chiron", "PackageError", "default_folder", "find_chiron", "provide_matplotlib"]

# The release whose model, signals and recorded letters this example was checked against.
CHIRON = "chiron==0.6.1.1"


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
    """The user's cache folder for this example."""
    return cache_folder("chiron")


def find_chiron(folder: Path) -> Chiron:
    """The chiron package in `folder`, fetched first, without its dependencies, if not there."""
    if not (folder / "chiron").is_dir():
        fetch_wheels(
            CHIRON,
            folder,
            ["--no-deps"],
            "On a machine without it, unpack the wheel from https://pypi.org/project/chiron/#files\n"
            "and pass its folder as --package-dir.",
        )
    return Chiron(folder)
