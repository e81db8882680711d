"""``tf.train``: reading checkpoints."""

from __future__ import annotations

from typing import Any

from lstmcore.checkpoint import latest_checkpoint, list_variables, load_checkpoint
from lstmcore.tf.graph_mode import unavailable

NewCheckpointReader = load_checkpoint

Saver = unavailable(
    "tf.train.Saver", "set the variables of cells with lstmcore.restore(checkpoint, cells, scope)."
)


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
