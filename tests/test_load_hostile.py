"""Hostile and broken model files: one LoadError that says why, and nothing else happens."""

from __future__ import annotations

import os
import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import lstmcore
from hostile_models import Hostile, corpus
from lstmcore import LoadError, UnsafeFile
from model_files import CASES, FOLDER, ModelFile

MEMORY = 1 << 30  # bytes more than are in use
SECONDS = 20.0


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """What declares terabytes must not get them."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("hostile", corpus(), ids=lambda hostile: hostile.name)
def test_refused_with_a_reason(hostile: Hostile, tmp_path: Path) -> None:
    if hostile.needs:
        pytest.importorskip(hostile.needs)
    path = tmp_path / "model"
    path.write_bytes(hostile.data)
    begun = time.monotonic()
    with pytest.raises(LoadError) as caught:
        lstmcore.load(path, forget_bias=None)
    assert time.monotonic() - begun < SECONDS
    assert str(path) in str(caught.value)
    assert hostile.message in str(caught.value)
    assert isinstance(caught.value, UnsafeFile) == hostile.unsafe
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert not os.path.exists("/tmp/lstmcore-was-here")


FILES = [case for case in CASES if case.path.is_file()]


def opened(path: Path, case: ModelFile) -> None:
    """Loads, or refuses in the one way there is. Anything else fails the test."""
    try:
        lstmcore.open_models(path, **{k: v for k, v in case.arguments.items() if k != "scope"})
    except LoadError as error:
        assert str(error)  # noqa: PT017 (either outcome is right)


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.file)
def test_truncated(case: ModelFile, tmp_path: Path) -> None:
    if case.needs:
        pytest.importorskip(case.needs)
    data, path = case.path.read_bytes(), tmp_path / case.path.name
    parts = 5 if case.needs == "h5py" else 40
    for k in range(1, parts):
        path.write_bytes(data[: len(data) * k // parts])
        with pytest.raises(LoadError):
            lstmcore.load(path, **case.arguments)


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.file)
def test_flipped_bits(case: ModelFile, tmp_path: Path) -> None:
    if case.needs:
        pytest.importorskip(case.needs)
    data, path = case.path.read_bytes(), tmp_path / case.path.name
    dice = random.Random(len(data))
    # HDF5 takes a process for each.
    for _ in range(6 if case.needs == "h5py" else 150):
        changed = bytearray(data)
        for _ in range(dice.choice((1, 1, 4))):
            changed[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(changed)
        opened(path, case)


def test_links_and_devices(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(LoadError):
            lstmcore.load(path)


def test_external_data_beside_the_model_is_read(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(FOLDER / "onnx_reverse.onnx")
    onnx.save(
        model, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0, location="w.bin"
    )
    want = lstmcore.load(FOLDER / "onnx_reverse.onnx")
    assert lstmcore.load(tmp_path / "m.onnx").weights_equal(want)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "w.bin").rename(elsewhere / "w.bin")
    (tmp_path / "inside").mkdir()
    (tmp_path / "m.onnx").rename(tmp_path / "inside" / "m.onnx")
    (tmp_path / "inside" / "w.bin").symlink_to(elsewhere / "w.bin")
    with pytest.raises(UnsafeFile, match="outside the model's folder"):
        lstmcore.load(tmp_path / "inside" / "m.onnx")
