"""``tf.errors``: what the operations raise. It is a ValueError as well."""

from lstmcore.errors import InvalidArgumentError

__all__ = ["InvalidArgumentError"]
