"""``tf.train``: reading checkpoints."""

from __future__ import annotations

from typing import Any

from lstmcore.checkpoint import latest_checkpoint, list_variables, load_checkpoint
from lstmcore.tf.missing import missing_name as _missing_name
from lstmcore.tf.saver import Saver

NewCheckpointReader = load_checkpoint


def load_variable(ckpt_dir_or_file: Any, name: str) -> Any:
    """The value of one variable of a checkpoint."""
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name)


__all__ = [
    "NewCheckpointReader",
    "Saver",
    "latest_checkpoint",
    "list_variables",
    "load_checkpoint",
    "load_variable",
]


def __getattr__(name: str) -> Any:
    raise _missing_name("tf.train", name)
