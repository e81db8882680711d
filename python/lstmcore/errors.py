"""Exceptions of lstmcore. Each is a ValueError: ``except ValueError`` catches all bad input."""


class InvalidArgumentError(ValueError):
    """TensorFlow's ``tf.errors.InvalidArgumentError``: shapes or values that an op refuses."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or restored; the message names the file or tensor."""
