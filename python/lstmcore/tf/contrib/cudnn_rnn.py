"""``tf.contrib.cudnn_rnn``: the cell that runs what CudnnLSTM trained."""

from lstmcore.cells.block_cells import CudnnCompatibleLSTMCell

__all__ = ["CudnnCompatibleLSTMCell"]
