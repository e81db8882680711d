"""``tf.nn.rnn_cell``: the cells and their wrappers."""

from lstmcore.dropout_wrapper import DropoutWrapper
from lstmcore.lstm_cells import BasicLSTMCell, LSTMCell
from lstmcore.multi_rnn_cell import MultiRNNCell
from lstmcore.rnn_cell import LSTMStateTuple, RNNCell
from lstmcore.wrappers import DeviceWrapper, ResidualWrapper

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
