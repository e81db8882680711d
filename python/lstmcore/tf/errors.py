"""``tf.errors``: what operations and checkpoint readers raise. Each is a ValueError as well."""

from lstmcore.errors import DataLossError, InvalidArgumentError, NotFoundError

__all__ = ["DataLossError", "InvalidArgumentError", "NotFoundError"]
