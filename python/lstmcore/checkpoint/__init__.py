"""TensorFlow V2 checkpoints (``.index`` and ``.data-*``) without TensorFlow."""

from lstmcore.checkpoint.build import cells_from_checkpoint
from lstmcore.checkpoint.paths import latest_checkpoint
from lstmcore.checkpoint.reader import CheckpointReader, list_variables, load_checkpoint
from lstmcore.checkpoint.restoring import restore

__all__ = [
    "CheckpointReader",
    "cells_from_checkpoint",
    "latest_checkpoint",
    "list_variables",
    "load_checkpoint",
    "restore",
]
