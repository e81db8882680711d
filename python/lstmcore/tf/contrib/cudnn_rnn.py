"""``tf.contrib.cudnn_rnn``: the cell that runs what CudnnLSTM trained."""

from lstmcore.block_cells import CudnnCompatibleLSTMCell

__all__ = ["CudnnCompatibleLSTMCell"]
