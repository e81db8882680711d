"""``tf.compat.v1``: every name of ``lstmcore.tf``."""

from typing import Any

import lstmcore.tf as _tf


def __getattr__(name: str) -> Any:
    return getattr(_tf, name)


def __dir__() -> list[str]:
    return dir(_tf)
