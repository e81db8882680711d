"""What belongs to TF1's graphs and sessions: what has no effect here, and what cannot be had."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from lstmcore.cells.device_spec import check_device


@contextlib.contextmanager
def device(device_name_or_function: Any) -> Iterator[None]:
    """Checks the name; computation stays on the CPU."""
    check_device(device_name_or_function)
    yield


@contextlib.contextmanager
def name_scope(name: Any, default_name: Any = None, values: Any = None) -> Iterator[Any]:
    """No effect: it names operations, and variables take no part of their names from it."""
    yield name or default_name


def _no_effect() -> None:
    """No effect: everything computes at once, with names and sharing as in graph mode."""


disable_eager_execution = disable_v2_behavior = enable_eager_execution = _no_effect
enable_resource_variables = disable_resource_variables = _no_effect


def unavailable(name: str, instead: str) -> Callable[..., Any]:
    """What raises NotImplementedError, saying what to do ``instead``, when it is called."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f"{name} does not exist in lstmcore, which computes at once on NumPy arrays: {instead}"
        )

    refuse.__name__ = refuse.__qualname__ = name.rpartition(".")[2]
    refuse.__doc__ = f"Raises NotImplementedError: {instead}"
    return refuse


_ARRAY_INSTEAD = "pass the array itself where the placeholder would stand; there is no feed_dict."
_RESULT_INSTEAD = (
    "call the cell or dynamic_rnn on arrays; what it returns is what sess.run would return."
)
_INITIALIZED = "variables have their values as soon as they are made; remove the call."
_NO_TRAINING = (
    "it runs trained cells and computes no gradients; train elsewhere and load the checkpoint."
)

placeholder = unavailable("tf.placeholder", _ARRAY_INSTEAD)
placeholder_with_default = unavailable("tf.placeholder_with_default", _ARRAY_INSTEAD)
Session = unavailable("tf.Session", _RESULT_INSTEAD)
ConfigProto = unavailable("tf.ConfigProto", _RESULT_INSTEAD)
InteractiveSession = unavailable("tf.InteractiveSession", _RESULT_INSTEAD)
global_variables_initializer = unavailable("tf.global_variables_initializer", _INITIALIZED)
initialize_all_variables = unavailable("tf.initialize_all_variables", _INITIALIZED)
gradients = unavailable("tf.gradients", _NO_TRAINING)

__all__ = [
    "ConfigProto",
    "InteractiveSession",
    "Session",
    "device",
    "disable_eager_execution",
    "disable_resource_variables",
    "disable_v2_behavior",
    "enable_eager_execution",
    "enable_resource_variables",
    "global_variables_initializer",
    "gradients",
    "initialize_all_variables",
    "name_scope",
    "placeholder",
    "placeholder_with_default",
]
