"""``tf.contrib.rnn``: the cells of ``tf.nn.rnn_cell`` and the block cells."""

from typing import Any

from lstmcore.cells.block_cells import LSTMBlockCell, LSTMBlockFusedCell
from lstmcore.rnn.dynamic import stack_bidirectional_dynamic_rnn
from lstmcore.rnn.static import static_bidirectional_rnn, static_rnn
from lstmcore.tf.missing import missing_name as _missing_name
from lstmcore.tf.nn.rnn_cell import (
    BasicLSTMCell,
    DeviceWrapper,
    DropoutWrapper,
    LSTMCell,
    LSTMStateTuple,
    MultiRNNCell,
    ResidualWrapper,
    RNNCell,
)

__all__ = [
    "BasicLSTMCell",
    "DeviceWrapper",
    "DropoutWrapper",
    "LSTMBlockCell",
    "LSTMBlockFusedCell",
    "LSTMCell",
    "LSTMStateTuple",
    "MultiRNNCell",
    "RNNCell",
    "ResidualWrapper",
    "stack_bidirectional_dynamic_rnn",
    "static_bidirectional_rnn",
    "static_rnn",
]


def __getattr__(name: str) -> Any:
    raise _missing_name("tf.contrib.rnn", name)
