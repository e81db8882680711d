"""TensorFlow 1's older spellings of arguments, such as ``dim`` for ``axis``."""

from __future__ import annotations

from typing import Any


def renamed(name: str, value: Any, old_name: str, old_value: Any) -> Any:
    """The one that is given, or None. Raises ValueError, as TensorFlow does, where both are."""
    if old_value is None:
        return value
    if value is not None:
        raise ValueError(f"Cannot specify both '{old_name}' and '{name}'")
    return old_value
