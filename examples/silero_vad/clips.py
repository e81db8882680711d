"""The spoken clips of Debian's alsa-utils, at the network's rate."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np
from network import RATE

from registry import PackageError

_TAPS = 191  # of the low pass before every third sample is kept


def fetch(folder: Path) -> None:
    """Put the clips into `folder` with apt and dpkg. Raises PackageError."""
    advice = "Pass a folder with .wav files of 16 or 48 kHz as --clips."
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise PackageError(f"the clips are in Debian's alsa-utils, and there is no apt. {advice}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        for command in (["apt-get", "download", "-q", "alsa-utils"], ["dpkg-deb", "-x"]):
            if command[0] == "dpkg-deb":
                command += [str(next(Path(work).glob("alsa-utils*.deb"))), "unpacked"]
            done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                words = (done.stderr.strip().splitlines() or ["(nothing said)"])[-1]
                raise PackageError(f"{command[0]}: {words}. {advice}")
        found = Path(work) / "unpacked" / "usr" / "share" / "sounds" / "alsa"
        shutil.copytree(found, folder)


def read(path: Path) -> np.ndarray:
    """Samples at 16 kHz, float32 in -1 to 1. Raises ValueError for another kind of file."""
    with wave.open(str(path), "rb") as file:
        rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
        data = file.readframes(file.getnframes())
    if width != 2 or rate not in (RATE, 3 * RATE):
        raise ValueError(f"{path}: expected 16 bits at 16 or 48 kHz, got {8 * width} at {rate}")
    samples = np.frombuffer(data, "<i2").reshape(-1, channels).mean(axis=1) / 32768
    if rate == 3 * RATE:
        at = np.arange(_TAPS) - _TAPS // 2
        low_pass = np.sinc(at / 3) / 3 * np.hamming(_TAPS)
        samples = np.convolve(samples, low_pass, "same")[::3]
    return samples.astype(np.float32)
