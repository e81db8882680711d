"""``tf.contrib.cudnn_rnn``: the cell that runs what CudnnLSTM trained."""

from typing import Any

from lstmcore.cells.block_cells import CudnnCompatibleLSTMCell
from lstmcore.tf.missing import missing_name as _missing_name

__all__ = ["CudnnCompatibleLSTMCell"]


def __getattr__(name: str) -> Any:
    raise _missing_name("tf.contrib.cudnn_rnn", name)
