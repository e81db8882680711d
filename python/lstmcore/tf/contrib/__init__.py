"""``tf.contrib`` of TensorFlow 1: ``rnn``, the cell of ``cudnn_rnn``, and an initializer."""

from typing import Any

from lstmcore.tf.contrib import cudnn_rnn, layers, rnn
from lstmcore.tf.missing import missing_name as _missing_name

__all__ = ["cudnn_rnn", "layers", "rnn"]


def __getattr__(name: str) -> Any:
    raise _missing_name("tf.contrib", name)
