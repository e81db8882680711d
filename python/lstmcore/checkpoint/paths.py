"""From what a user passes to the prefix of a checkpoint, as ``tf.train`` finds it."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from lstmcore.checkpoint.table import MAGIC
from lstmcore.errors import CheckpointError, NotFoundError

StrPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

# A text-format protocol buffer of a few lines; one far bigger is not a state file.
_MAX_STATE_BYTES = 1 << 20
# Blanks stay within the line: \s would try every run of empty lines from each of its lines.
_STATE_PATH = re.compile(
    rb"^[ \t]*model_checkpoint_path[ \t]*:[ \t]*"
    rb"""(?:"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)')""",
    re.MULTILINE,
)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|[xX][0-9a-fA-F]{1,2}|.)", re.DOTALL)
_CONTROL = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}


def is_file(path: str) -> bool:
    """Whether ``path`` is a regular file: reading a pipe or device could block for ever."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):  # ValueError: a NUL inside the path
        return False


def is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def latest_checkpoint(checkpoint_dir: StrPath, latest_filename: str | None = None) -> str | None:
    """The prefix that the state file of a directory calls the latest, as ``tf.train`` does.

    Args:
        checkpoint_dir: directory with the state file.
        latest_filename: name of the state file, ``checkpoint`` by default.

    Returns:
        The prefix, or None when there is no state file or its checkpoint is not there.
    """
    prefix = _state_path(os.fsdecode(checkpoint_dir), latest_filename or "checkpoint")
    return prefix if prefix is not None and is_file(prefix + ".index") else None


def checkpoint_prefix(path: StrPath) -> str:
    """The prefix of the checkpoint that ``path`` names.

    Accepts a prefix, its ``.index`` file, or a directory with a ``checkpoint`` state file.
    Raises CheckpointError saying what was looked for and what lies there instead, TypeError when
    ``path`` is not a path.
    """
    name = os.fsdecode(path)
    if is_directory(name):
        prefix = latest_checkpoint(name)
        if prefix is not None:
            return prefix
        if not is_file(name + ".index"):
            raise CheckpointError(_no_checkpoint_in(name))
    if is_file(name + ".index"):
        return name
    if name.endswith(".index") and is_file(name):
        return name[: -len(".index")]
    raise NotFoundError(_not_a_checkpoint(name))


def _state_path(directory: str, filename: str) -> str | None:
    """What the state file of ``directory`` names, relative names taken from there."""
    state = os.path.join(directory, filename)
    if not is_file(state):
        return None
    try:
        with open(state, "rb") as file:
            text = file.read(_MAX_STATE_BYTES)
    except OSError:
        return None
    found = _STATE_PATH.search(text)
    if found is None:
        return None
    quoted = found[1] if found[1] is not None else found[2]
    return os.path.join(directory, os.fsdecode(_ESCAPE.sub(_unescape, quoted)))


def _unescape(escape: re.Match[bytes]) -> bytes:
    """Undo one C escape: the text format writes bytes above 127 in octal."""
    code = escape[1]
    if code[:1] in b"xX" and len(code) > 1:
        return bytes([int(code[1:], 16)])
    if code[:1].isdigit() and code[:1] < b"8":
        return bytes([int(code, 8) & 0xFF])
    return _CONTROL.get(code, code)


def _no_checkpoint_in(directory: str) -> str:
    """Why a directory cannot be loaded, in TensorFlow's words, and what to pass instead."""
    message = f"Couldn't find 'checkpoint' file or checkpoints in given directory {directory}"
    named = _state_path(directory, "checkpoint")
    if named is not None:
        message += f": its state file names {named}, which has no .index file"
    return message + _prefixes_hint(directory)


def _not_a_checkpoint(name: str) -> str:
    """Why a path that is no directory cannot be loaded."""
    looked_for = f"path {name!r}: no checkpoint here; looked for {name + '.index'!r}"
    prefix = re.sub(r"\.(meta|data-\d{5}-of-\d{5})$", "", name)
    if prefix != name and is_file(prefix + ".index"):
        return f"{looked_for}. This is one file of a checkpoint: pass its prefix {prefix}"
    if _is_v1(name):
        return (
            f"path {name!r}: this is a V1 checkpoint, the format before TensorFlow 0.12; only V2 "
            "(.index and .data files) is read. Load it in TensorFlow and save it again with "
            "tf.compat.v1.train.Saver(write_version=tf.compat.v1.train.SaverDef.V2)"
        )
    if is_file(name):
        return f"{looked_for}. The file itself is not a checkpoint index"
    return looked_for + _prefixes_hint(os.path.dirname(name) or ".")


def _is_v1(name: str) -> bool:
    """Whether ``name`` is a V1 checkpoint: the table itself, or its shards, under the bare name."""
    directory, base = os.path.split(name)
    pattern = re.compile(re.escape(base) + r"-\d{5}-of-\d{5}")
    files = [name] if is_file(name) else _listing(directory or ".", pattern)[:1]
    for path in files:
        try:
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - len(MAGIC), 0))
                return file.read(len(MAGIC)) == MAGIC
        except OSError:
            return False
    return False


def _prefixes_hint(directory: str) -> str:
    """The checkpoints that a directory or its ``variables`` folder (SavedModel) does hold."""
    found: list[str] = []
    for folder in (directory, os.path.join(directory, "variables")):
        found += [path[: -len(".index")] for path in _listing(folder, re.compile(r".+\.index"))]
    return f". Checkpoints found there: {', '.join(found[:5])}" if found else ""


def _listing(directory: str, pattern: re.Pattern[str]) -> list[str]:
    try:
        return sorted(
            str(path) for path in Path(directory).iterdir() if pattern.fullmatch(path.name)
        )
    except (OSError, ValueError):
        return []
