"""What names a checkpoint: prefix, index file, directory with a state file; and what does not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import checkpoint_writer as writer
from lstmcore.checkpoint import latest_checkpoint, load_checkpoint
from lstmcore.errors import CheckpointError, DataLossError, NotFoundError


@pytest.fixture
def folder(tmp_path):
    writer.write(tmp_path / "model.ckpt-7", {"v": np.float32([1.25])})
    return tmp_path


def test_prefix_index_and_bytes_name_the_same(folder):
    prefix = str(folder / "model.ckpt-7")
    for path in (prefix, prefix + ".index", Path(prefix), os.fsencode(prefix)):
        assert load_checkpoint(path).prefix == prefix


@pytest.mark.parametrize(
    "line",
    [
        'model_checkpoint_path: "model.ckpt-7"\nall_model_checkpoint_paths: "other"\n',
        "  model_checkpoint_path : 'model.ckpt-7'",
        'all_model_checkpoint_paths: "x"\nmodel_checkpoint_path: "model\\056ckpt-\\x37"',
    ],
)
def test_state_file_names_the_latest(folder, line):
    (folder / "checkpoint").write_text(line)
    assert latest_checkpoint(folder) == str(folder / "model.ckpt-7")
    assert load_checkpoint(folder).get_tensor("v") == np.float32([1.25])


def test_state_file_with_absolute_and_non_ascii_path(tmp_path):
    folder = tmp_path / "modèle"
    folder.mkdir()
    prefix = writer.write(folder / "m", {"v": np.float32([1])})
    octal = "".join(chr(b) if b < 128 else f"\\{b:03o}" for b in prefix.encode())
    (tmp_path / "last").write_text(f'model_checkpoint_path: "{octal}"\n')
    assert latest_checkpoint(tmp_path, "last") == prefix


@pytest.mark.parametrize(
    "state", [None, "", 'model_checkpoint_path: "gone"', "model_checkpoint_path: 7", "\0\xff"]
)
def test_directory_without_latest_checkpoint(folder, state):
    if state is not None:
        (folder / "checkpoint").write_text(state)
    assert latest_checkpoint(folder) is None
    with pytest.raises(CheckpointError, match="Couldn't find 'checkpoint' file") as error:
        load_checkpoint(folder)
    assert str(folder / "model.ckpt-7") in str(error.value)


def test_path_that_is_no_checkpoint(folder):
    with pytest.raises(CheckpointError, match=r"nothing'.*looked for .*nothing\.index") as error:
        load_checkpoint(folder / "nothing")
    assert str(folder / "model.ckpt-7") in str(error.value)
    with pytest.raises(CheckpointError, match=r"pass its prefix .*model\.ckpt-7$"):
        load_checkpoint(folder / "model.ckpt-7.data-00000-of-00001")
    (folder / "notes.txt").write_text("hello")
    with pytest.raises(CheckpointError, match="not a checkpoint index"):
        load_checkpoint(folder / "notes.txt")
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        load_checkpoint("with\0nul")
    with pytest.raises(TypeError):
        load_checkpoint(3)


def test_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "m.index")
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        load_checkpoint(tmp_path / "m")


@pytest.mark.parametrize("name", ["old.ckpt", "old.ckpt-00000-of-00002"])
def test_v1_checkpoint_is_refused_with_advice(tmp_path, name):
    """A V1 checkpoint is one such table under the bare name, without .index."""
    (tmp_path / name).write_bytes(writer.table([(b"", b"")]))
    with pytest.raises(CheckpointError, match=r"V1 checkpoint.*Saver\(write_version="):
        load_checkpoint(tmp_path / "old.ckpt")


def test_saved_model_directory_names_its_variables(tmp_path):
    (tmp_path / "variables").mkdir()
    prefix = writer.write(tmp_path / "variables" / "variables", {"v": np.float32([1])})
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(tmp_path)
    assert prefix in str(error.value)


def test_errors_are_of_tensorflows_types(folder):
    with pytest.raises(NotFoundError, match="other"):
        load_checkpoint(folder / "other")
    with pytest.raises(NotFoundError, match="Key nothing not found"):
        load_checkpoint(folder / "model.ckpt-7").get_tensor("nothing")
    (folder / "text.index").write_text("no checkpoint " * 9)
    with pytest.raises(DataLossError, match=r"text\.index"):
        load_checkpoint(folder / "text")
    assert issubclass(NotFoundError, CheckpointError)
    assert issubclass(DataLossError, CheckpointError)
