"""Exceptions of lstmcore. Each is a ValueError: ``except ValueError`` catches all bad input."""


class InvalidArgumentError(ValueError):
    """TensorFlow's ``tf.errors.InvalidArgumentError``: shapes or values that an op refuses."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or restored; the message names the file or tensor."""


class NotFoundError(CheckpointError):
    """TensorFlow's ``tf.errors.NotFoundError``: no such checkpoint, or no such tensor in it."""


class DataLossError(CheckpointError):
    """TensorFlow's ``tf.errors.DataLossError``: a file is corrupt, truncated, or no checkpoint."""
