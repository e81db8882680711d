"""``tf.contrib.layers``: its initializer."""

from __future__ import annotations

from typing import Any

from lstmcore.tf.missing import missing_name as _missing_name
from lstmcore.variables.initializers import GlorotNormal, GlorotUniform


def xavier_initializer(
    uniform: bool = True, seed: int | None = None, dtype: Any = None
) -> GlorotUniform | GlorotNormal:
    """Glorot's initializer; the dtype is that of the variable."""
    return GlorotUniform(seed=seed) if uniform else GlorotNormal(seed=seed)


__all__ = ["xavier_initializer"]


def __getattr__(name: str) -> Any:
    raise _missing_name("tf.contrib.layers", name)
