"""``tf.contrib`` of TensorFlow 1: ``rnn`` and the cell of ``cudnn_rnn``."""

from lstmcore.tf.contrib import cudnn_rnn, rnn

__all__ = ["cudnn_rnn", "rnn"]
