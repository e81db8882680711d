"""``tf.compat``: ``v1``, the same names once more."""

from typing import Any

from lstmcore.tf.compat import v1
from lstmcore.tf.missing import missing_name as _missing_name

__all__ = ["v1"]


def __getattr__(name: str) -> Any:
    raise _missing_name("tf.compat", name)
