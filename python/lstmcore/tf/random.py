"""``tf.random``: the distributions are TensorFlow's, the numbers are NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore.arrays import Array, shape_text
from lstmcore.dtypes import as_dtype
from lstmcore.errors import InvalidArgumentError
from lstmcore.tf.missing import missing_name as _missing_name
from lstmcore.variables.initializers import TruncatedNormal

_generator = np.random.default_rng()


def set_seed(seed: int | None) -> None:
    """Makes the numbers of this module repeatable. Initializers take a ``seed`` of their own."""
    global _generator
    _generator = np.random.default_rng(seed)


def normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = "float32",
    seed: int | None = None,
    name: str | None = None,
) -> Array:
    numbers: Array = _rng(seed).normal(mean, stddev, shape).astype(as_dtype(dtype))
    return numbers


def uniform(
    shape: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = "float32",
    seed: int | None = None,
    name: str | None = None,
) -> Array:
    """Numbers in [minval, maxval); maxval is 1 unless given, and needed for integers."""
    found = as_dtype(dtype)
    if found.kind in "iu":
        if maxval is None:
            raise ValueError(f"Must specify maxval for integer dtype {found.name}")
        numbers: Array = _rng(seed).integers(minval, maxval, shape, found)
    else:
        limit = 1 if maxval is None else maxval
        numbers = _rng(seed).uniform(minval, limit, shape).astype(found)
    return numbers


def truncated_normal(
    shape: Any,
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = "float32",
    seed: int | None = None,
    name: str | None = None,
) -> Array:
    """Normal numbers; those more than two standard deviations from the mean are drawn again."""
    if seed is None:
        seed = int(_generator.integers(2**63))
    return TruncatedNormal(mean, stddev, seed)(shape, dtype)


def categorical(
    logits: Any,
    num_samples: int,
    dtype: Any = None,
    seed: int | None = None,
    name: str | None = None,
) -> Array:
    """Classes [batch, num_samples] drawn with probabilities softmax(logits [batch, classes])."""
    scores = np.asarray(logits, np.float64)
    if scores.ndim != 2:
        raise InvalidArgumentError(
            f"logits should be a matrix, got shape {shape_text(scores.shape)}"
        )
    # Gumbel's trick: the largest of the disturbed logits is a draw from their softmax.
    noise = _rng(seed).gumbel(size=(len(scores), num_samples, scores.shape[1]))
    drawn: Array = np.argmax(scores[:, None] + noise, axis=-1)
    return drawn.astype(as_dtype("int64" if dtype is None else dtype))


def multinomial(
    logits: Any,
    num_samples: int,
    seed: int | None = None,
    name: str | None = None,
    output_dtype: Any = None,
) -> Array:
    """``categorical`` with TensorFlow 1's order of arguments."""
    return categorical(logits, num_samples, output_dtype, seed)


def _rng(seed: int | None) -> np.random.Generator:
    return _generator if seed is None else np.random.default_rng(seed)


set_random_seed = set_seed


def __getattr__(name: str) -> Any:
    raise _missing_name("tf.random", name)
