"""``tf.errors``: what operations and checkpoint readers raise. Each is a ValueError as well."""

from typing import Any

from lstmcore.errors import DataLossError, InvalidArgumentError, NotFoundError
from lstmcore.tf.missing import missing_name as _missing_name

__all__ = ["DataLossError", "InvalidArgumentError", "NotFoundError"]


def __getattr__(name: str) -> Any:
    raise _missing_name("tf.errors", name)
