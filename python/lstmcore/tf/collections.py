"""TensorFlow 1's collections of variables, and functions that assign or do nothing."""

from __future__ import annotations

from typing import Any

from lstmcore.variables.graph import global_variables, trainable_variables


class GraphKeys:
    """The collections that exist here."""

    GLOBAL_VARIABLES = VARIABLES = "variables"
    TRAINABLE_VARIABLES = "trainable_variables"


def get_collection(key: str, scope: str | None = None) -> list[Any]:
    """The (trainable) variables of the default graph; every other collection is empty.

    ``scope`` keeps the names that it matches as a regular expression.
    """
    if key == GraphKeys.GLOBAL_VARIABLES:
        return list(global_variables(scope))
    return list(trainable_variables(scope)) if key == GraphKeys.TRAINABLE_VARIABLES else []


def assign(
    ref: Any,
    value: Any,
    validate_shape: bool | None = None,
    use_locking: bool | None = None,
    name: str | None = None,
) -> Any:
    """``ref.assign(value)``, at once; the shape of a variable never changes."""
    return ref.assign(value)


def no_op(name: str | None = None) -> None:
    """Nothing."""


__all__ = ["GraphKeys", "assign", "get_collection", "no_op"]
