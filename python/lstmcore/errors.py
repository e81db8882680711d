"""Exceptions of lstmcore.

Each but MissingExtra is a ValueError: ``except ValueError`` catches all bad input.
"""


class InvalidArgumentError(ValueError):
    """TensorFlow's ``tf.errors.InvalidArgumentError``: shapes or values that an op refuses."""


class LoadError(ValueError):
    """A model file that cannot be read; the message names the file, the place and the reason."""


class UnsafeFile(LoadError):
    """A file that asks for code to be run, or for files outside itself. Nothing of it was used."""


class MissingExtra(ImportError):
    """A format needs a package that is not installed; the message is how to install it."""


class CheckpointError(LoadError):
    """A checkpoint that cannot be read or restored; the message names the file or tensor."""


class NotFoundError(CheckpointError):
    """TensorFlow's ``tf.errors.NotFoundError``: no such checkpoint, or no such tensor in it."""


class DataLossError(CheckpointError):
    """TensorFlow's ``tf.errors.DataLossError``: a file is corrupt, truncated, or no checkpoint."""


def is_refusal(error: Exception) -> bool:
    """Whether a native call has refused its arguments.

    A signal handler, or a warning that is an error, may raise the same types within the call.
    """
    return not getattr(error, "lstmcore_within_call", False)
