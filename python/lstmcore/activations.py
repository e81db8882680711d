"""Activations by Keras name or as callables (TF API: ``tf.keras.activations.get``).

The functions here serve the slower path: activations without a fused kernel, and callers who want
them by themselves. ``Activation.fused`` says which kernel computes an activation inside a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

ActivationFunction = Callable[..., Any]

# Klambauer et al. 2017, "Self-Normalizing Neural Networks".
_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


class Activation(NamedTuple):
    """``name`` for configs, ``fused`` the kernel's name or None, ``function`` for NumPy arrays."""

    name: str
    fused: str | None
    function: ActivationFunction

    def __call__(self, x: Any) -> Any:
        return self.function(x)


def tanh(x: Any) -> Any:
    return np.tanh(x)


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def sigmoid(x: Any) -> Any:
    # exp of a non-positive number only, so that nothing overflows
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def linear(x: Any) -> Any:
    return x


def softsign(x: Any) -> Any:
    return x / (1 + np.abs(x))


def softplus(x: Any) -> Any:
    return np.logaddexp(x, np.zeros((), x.dtype))


def elu(x: Any) -> Any:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def selu(x: Any) -> Any:
    return _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0)))


def gelu(x: Any) -> Any:
    """Exact form, 0.5 x (1 + erf(x / sqrt 2)); NumPy has no erf, so element by element."""
    values = (0.5 * v * math.erfc(-v / math.sqrt(2.0)) for v in x.ravel().tolist())
    return np.fromiter(values, x.dtype, x.size).reshape(x.shape)


def silu(x: Any) -> Any:
    return x * sigmoid(x)


def exponential(x: Any) -> Any:
    return np.exp(x)


def hard_sigmoid(x: Any) -> Any:
    """Keras 2: clip(0.2 x + 0.5, 0, 1)."""
    return np.clip(0.2 * x + 0.5, 0, 1)


def hard_sigmoid_keras3(x: Any) -> Any:
    """Keras 3: clip(x / 6 + 0.5, 0, 1)."""
    return np.clip(x / 6 + 0.5, 0, 1)


def relu6(x: Any) -> Any:
    return np.clip(x, 0, 6)


def leaky_relu(x: Any) -> Any:
    """Slope 0.2 below zero."""
    return np.where(x > 0, x, 0.2 * x)


def mish(x: Any) -> Any:
    return x * np.tanh(softplus(x))


def softmax(x: Any) -> Any:
    """Over the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True, initial=-np.inf))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(x: Any) -> Any:
    """Over the last axis."""
    shifted = x - x.max(axis=-1, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


_FUSED: tuple[ActivationFunction, ...] = (
    tanh,
    relu,
    sigmoid,
    linear,
    softsign,
    elu,
    selu,
    silu,
    exponential,
    hard_sigmoid,
    hard_sigmoid_keras3,
    relu6,
    leaky_relu,
)
_NUMPY_ONLY: tuple[ActivationFunction, ...] = (softplus, gelu, mish, softmax, log_softmax)

_BY_NAME = {
    **{
        function.__name__: Activation(function.__name__, function.__name__, function)
        for function in _FUSED
    },
    **{
        function.__name__: Activation(function.__name__, None, function) for function in _NUMPY_ONLY
    },
}
_BY_NAME["swish"] = _BY_NAME["silu"]
_BY_FUNCTION = {activation.function: activation for activation in _BY_NAME.values()}
_BY_FUNCTION[np.tanh] = _BY_NAME["tanh"]


def get(identifier: Any) -> Activation:
    """The activation a name or a callable stands for; None and "" stand for tanh.

    Raises ValueError for an unknown name and TypeError for what is neither name nor callable.
    """
    if isinstance(identifier, Activation):
        return identifier
    if isinstance(identifier, str) or identifier is None:
        name = identifier or "tanh"
        if name not in _BY_NAME:
            raise ValueError(
                f"Unknown activation function '{name}' cannot be deserialized. "
                f"Known are {', '.join(sorted(_BY_NAME))}, or pass a callable."
            )
        return _BY_NAME[name]
    if not callable(identifier):
        raise TypeError(f"Could not interpret activation function identifier: {identifier}")
    try:
        known = _BY_FUNCTION.get(identifier)
    except TypeError:  # a callable object without a hash
        known = None
    name = getattr(identifier, "__name__", type(identifier).__name__)
    return known or Activation(name, None, identifier)


def serialize(activation: Activation) -> Any:
    """The name of an activation of this module; the callable itself otherwise."""
    known = _BY_NAME.get(activation.name)
    return activation.name if known == activation else activation.function
