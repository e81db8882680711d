"""``tf.nn.rnn_cell``: the cells and their wrappers."""

from typing import Any

from lstmcore.cells.dropout_wrapper import DropoutWrapper
from lstmcore.cells.lstm_cells import BasicLSTMCell, LSTMCell
from lstmcore.cells.multi_rnn_cell import MultiRNNCell
from lstmcore.cells.rnn_cell import LSTMStateTuple, RNNCell
from lstmcore.cells.wrappers import DeviceWrapper, ResidualWrapper
from lstmcore.tf.missing import missing_name as _missing_name

__all__ = [
    "BasicLSTMCell",
    "DeviceWrapper",
    "DropoutWrapper",
    "LSTMCell",
    "LSTMStateTuple",
    "MultiRNNCell",
    "RNNCell",
    "ResidualWrapper",
]


def __getattr__(name: str) -> Any:
    raise _missing_name("tf.nn.rnn_cell", name)
