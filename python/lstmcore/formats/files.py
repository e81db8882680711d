"""Model files as bytes, and what kind each is, told by its content."""

from __future__ import annotations

import importlib
import os
import zipfile
from collections.abc import Callable
from types import ModuleType

from lstmcore.checkpoint.paths import is_directory, is_file
from lstmcore.errors import LoadError, MissingExtra

_HDF5 = b"\x89HDF\r\n\x1a\n"
_TORCH_STREAM = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number, pickled
_SAFETENSORS_HEADER = 100 << 20


def optional(module: str, extra: str, purpose: str) -> ModuleType:
    """An optional package. Raises MissingExtra with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        if getattr(error, "name", None) not in (module, package):
            raise
        raise MissingExtra(
            f'{purpose} needs the package {package}: pip install "lstmcore[{extra}]"', name=package
        ) from None


def read_file(path: str) -> bytes:
    """The whole of a regular file. Raises LoadError."""
    if not is_file(path):
        raise LoadError(f"{path}: no such file, or no regular one")
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise LoadError(f"{path}: cannot be read: {error}") from error


def sniff(path: str) -> str:
    """The kind of file: a key of ``READERS``.

    Raises LoadError for what is not there, not known, or known and not read.
    """
    if is_directory(path):
        inside = os.path.join(path, "variables", "variables")
        return "saved_model" if is_file(inside + ".index") else "checkpoint"
    if not is_file(path):
        if is_file(path + ".index") or not os.path.exists(path):
            return "checkpoint"  # whose reader says what it looked for
        raise LoadError(f"{path}: expected a regular file or a folder")
    try:
        with open(path, "rb") as file:
            head = file.read(512)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 8))
            tail = file.read(8)
    except OSError as error:
        raise LoadError(f"{path}: cannot be read: {error}") from error
    if not head:
        raise LoadError(f"{path}: the file is empty")
    if path.endswith(".index") and tail == b"\x57\xfb\x80\x8b\x24\x75\x47\xdb":
        return "checkpoint"
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path)
    for known, kind in _MAGIC:
        if known(head, size):
            return kind
    refused = next((text for known, text in _REFUSED if known(head)), None)
    if refused:
        raise LoadError(f"{path}: {refused}")
    if head[:1] == b"\x08":
        return "onnx"
    if head[:1] == b"\x0a":
        return "graph"
    raise LoadError(
        f"{path}: not a format that is known here: TensorFlow checkpoints, frozen graphs and "
        "SavedModels, Keras .h5 and .keras, PyTorch .pt, .safetensors, ONNX"
    )


def _is_safetensors(head: bytes, size: int) -> bool:
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and length <= min(_SAFETENSORS_HEADER, max(size - 8, 0))


_MAGIC: tuple[tuple[Callable[[bytes, int], bool], str], ...] = (
    (lambda head, size: head.startswith(_HDF5), "hdf5"),
    (
        lambda head, size: head[:2] in (b"\x80\x02", b"\x80\x04") and _TORCH_STREAM in head[:40],
        "torch_stream",
    ),
    (_is_safetensors, "safetensors"),
)
_REFUSED: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (
        lambda head: head[257:262] == b"ustar",
        "a tar archive; PyTorch's of before 0.1.10 is not read: load and save it again with torch",
    ),
    (lambda head: head[4:8] == b"TFL3", "a TensorFlow Lite model, which is not read"),
    (lambda head: head.startswith(b"\x93NUMPY"), "a NumPy array, no model"),
    (
        lambda head: head[:1] == b"\x80" and head[1:2] <= b"\x05",
        "a Python pickle that torch.save did not write; only PyTorch's containers are read",
    ),
    (lambda head: head[8:9] == b"{", "a .safetensors file that is truncated or has a wrong header"),
)


def _kind_of_zip(path: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise LoadError(f"{path}: a broken zip archive: {error}") from None
    if "config.json" in names and "model.weights.h5" in names:
        return "keras_zip"
    if any(name.endswith("/constants.pkl") or "/code/" in f"/{name}" for name in names):
        raise LoadError(
            f"{path}: a TorchScript program; only weights are read: save "
            "torch.jit.load(path).state_dict() with torch.save"
        )
    if any(name == "data.pkl" or name.endswith("/data.pkl") for name in names):
        return "torch_zip"
    if names and all(name.endswith(".npy") for name in names):
        raise LoadError(f"{path}: a NumPy .npz archive; pass its arrays as a dict to load()")
    raise LoadError(f"{path}: a zip archive of no model format that is known here")
