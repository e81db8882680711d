"""``tf.compat``: ``v1``, the same names once more."""

from lstmcore.tf.compat import v1

__all__ = ["v1"]
