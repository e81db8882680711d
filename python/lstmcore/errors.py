"""Exception types of lstmcore. Each is a ValueError, so ``except ValueError`` catches all bad input."""


class InvalidArgumentError(ValueError):
    """What TensorFlow raises as ``tf.errors.InvalidArgumentError``: shapes or values an op refuses."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or restored; the message names the file or tensor."""
