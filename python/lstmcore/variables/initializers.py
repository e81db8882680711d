"""Initial values of variables (TF API: ``tf.keras.initializers``, ``tf.initializers``).

An initializer is called with ``(shape, dtype)``. Objects carry a config, so that a cell's
``get_config`` can name them. The distributions are TensorFlow's; the random numbers are NumPy's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lstmcore.arrays import Array
from lstmcore.dtypes import as_dtype

# Standard deviation of a unit normal truncated to [-2, 2]: VarianceScaling divides by it so that
# the truncated samples have the variance asked for.
_TRUNCATED_STDDEV = 0.87962566103423978

# Values that are drawn at once.
_BLOCK = 1 << 13


class Initializer:
    """Base: subclasses set attributes named like their arguments, and define ``__call__``."""

    def __call__(self, shape: Sequence[int], dtype: Any = "float32") -> Array:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Initializer:
        return cls(**{key: value for key, value in config.items() if key != "dtype"})

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class Zeros(Initializer):
    def __call__(self, shape: Sequence[int], dtype: Any = "float32") -> Array:
        return np.zeros(shape, as_dtype(dtype))


class Ones(Initializer):
    def __call__(self, shape: Sequence[int], dtype: Any = "float32") -> Array:
        return np.ones(shape, as_dtype(dtype))


class Constant(Initializer):
    """One number everywhere, or an array of exactly the variable's number of elements."""

    def __init__(self, value: Any = 0) -> None:
        self.value = value

    def __call__(self, shape: Sequence[int], dtype: Any = "float32") -> Array:
        value = np.asarray(self.value, dtype=as_dtype(dtype))
        if value.ndim == 0:
            return np.full(shape, value)
        if value.size != math.prod(shape):
            raise ValueError(
                f"value of Constant has {value.size} elements, a variable of shape {tuple(shape)} "
                f"needs {math.prod(shape)}"
            )
        return value.reshape(shape)


class RandomUniform(Initializer):
    def __init__(
        self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None
    ) -> None:
        self.minval = minval
        self.maxval = maxval
        self.seed = seed

    def __call__(self, shape: Sequence[int], dtype: Any = "float32") -> Array:
        random = np.random.default_rng(self.seed)
        return drawn(shape, dtype, lambda size: random.uniform(self.minval, self.maxval, size))


class RandomNormal(Initializer):
    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean = mean
        self.stddev = stddev
        self.seed = seed

    def __call__(self, shape: Sequence[int], dtype: Any = "float32") -> Array:
        random = np.random.default_rng(self.seed)
        return drawn(shape, dtype, lambda size: random.normal(self.mean, self.stddev, size))


class TruncatedNormal(RandomNormal):
    """Normal values; those more than two standard deviations from the mean are drawn again."""

    def __call__(self, shape: Sequence[int], dtype: Any = "float32") -> Array:
        random = np.random.default_rng(self.seed)
        return _truncated_normal(random, shape, dtype, self.mean, self.stddev)


class VarianceScaling(Initializer):
    """Variance ``scale / n``, where n counts inputs, outputs or their mean (Glorot; He; LeCun).

    Args:
        mode: ``fan_in``, ``fan_out`` or ``fan_avg``.
        distribution: ``truncated_normal``, ``untruncated_normal`` or ``uniform``.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        if scale <= 0:
            raise ValueError(f"`scale` must be positive float. Received: scale={scale}")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"mode must be fan_in, fan_out or fan_avg. Received: mode={mode!r}")
        if distribution not in ("truncated_normal", "untruncated_normal", "uniform", "normal"):
            raise ValueError(
                "distribution must be truncated_normal, untruncated_normal or uniform. "
                f"Received: distribution={distribution!r}"
            )
        self.scale = scale
        self.mode = mode
        self.distribution = distribution
        self.seed = seed

    def __call__(
        self, shape: Sequence[int], dtype: Any = "float32", partition_info: Any = None
    ) -> Array:
        whole = shape if partition_info is None else partition_info.full_shape
        fan_in, fan_out = _fans(whole)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        random = np.random.default_rng(self.seed)
        if self.distribution == "uniform":
            bound = math.sqrt(3.0 * variance)
            return drawn(shape, dtype, lambda size: random.uniform(-bound, bound, size))
        stddev = math.sqrt(variance)
        if self.distribution == "untruncated_normal":
            return drawn(shape, dtype, lambda size: random.normal(0.0, stddev, size))
        return _truncated_normal(random, shape, dtype, 0.0, stddev / _TRUNCATED_STDDEV)


class _Fixed(VarianceScaling):
    """A VarianceScaling known by its own name; only the seed is left to choose."""

    settings: tuple[float, str, str]

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(*self.settings, seed=seed)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


class GlorotUniform(_Fixed):
    settings = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Fixed):
    settings = (1.0, "fan_avg", "truncated_normal")


class LecunUniform(_Fixed):
    settings = (1.0, "fan_in", "uniform")


class LecunNormal(_Fixed):
    settings = (1.0, "fan_in", "truncated_normal")


class HeUniform(_Fixed):
    settings = (2.0, "fan_in", "uniform")


class HeNormal(_Fixed):
    settings = (2.0, "fan_in", "truncated_normal")


class Orthogonal(Initializer):
    """A matrix with orthonormal rows or columns, whichever are fewer, times ``gain``."""

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        self.gain = gain
        self.seed = seed

    def __call__(self, shape: Sequence[int], dtype: Any = "float32") -> Array:
        if len(shape) < 2:
            raise ValueError(
                "The tensor to initialize must be at least two-dimensional. Received: "
                f"shape={tuple(shape)} of rank {len(shape)}."
            )
        rows, columns = math.prod(shape[:-1]), shape[-1]
        size = (max(rows, columns), min(rows, columns))
        q, r = np.linalg.qr(np.random.default_rng(self.seed).normal(size=size))
        q *= np.sign(np.diag(r))  # makes the distribution uniform over orthogonal matrices
        matrix = q.T if rows < columns else q
        return (self.gain * matrix).reshape(shape).astype(as_dtype(dtype))


class Identity(Initializer):
    """The identity matrix times ``gain``; ones on the diagonal where it is not square."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, shape: Sequence[int], dtype: Any = "float32") -> Array:
        if len(shape) != 2:
            raise ValueError(
                "Identity matrix initializer can only be used for 2D matrices. Received: "
                f"shape={tuple(shape)} of rank {len(shape)}."
            )
        return self.gain * np.eye(shape[0], shape[1], dtype=as_dtype(dtype))


_CLASSES: tuple[type[Initializer], ...] = (
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Identity,
    LecunNormal,
    LecunUniform,
    Ones,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
    Zeros,
)


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")


_BY_NAME: dict[str, type[Initializer]] = {
    **{cls.__name__: cls for cls in _CLASSES},
    **{_snake(cls.__name__): cls for cls in _CLASSES},
}


def get(identifier: Any) -> Callable[..., Any] | Any:
    """The initializer that ``identifier`` names: a name, a config, a class, an object, a callable.

    None stays None, and arrays stay what they are (constants for ``get_variable``). Raises
    ValueError for an unknown name and for what is none of these.
    """
    if identifier is None or isinstance(identifier, np.ndarray):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Initializer):
        return identifier()
    if callable(identifier):
        return identifier
    name, config = identifier, None
    if isinstance(identifier, Mapping):
        name, config = identifier.get("class_name"), identifier.get("config") or {}
    if not isinstance(name, str):
        raise ValueError(f"Could not interpret initializer identifier: {identifier}")
    if name not in _BY_NAME:
        raise ValueError(
            f"Unknown initializer: '{name}'. "
            f"Known are {', '.join(_snake(cls.__name__) for cls in _CLASSES)}"
        )
    return _BY_NAME[name]() if config is None else _BY_NAME[name].from_config(config)


def serialize(initializer: Any) -> Any:
    """The config dictionary of one of this module's objects; anything else as it is."""
    if not isinstance(initializer, Initializer):
        return initializer
    return {
        "module": "keras.initializers",
        "class_name": type(initializer).__name__,
        "config": initializer.get_config(),
        "registered_name": None,
    }


def _fans(shape: Sequence[int]) -> tuple[float, float]:
    """Numbers of inputs and outputs: the last two axes, times whatever stands before them."""
    if len(shape) < 2:
        size = float(shape[0]) if shape else 1.0
        return size, size
    receptive_field = math.prod(shape[:-2])
    return float(shape[-2] * receptive_field), float(shape[-1] * receptive_field)


def drawn(shape: Sequence[int], dtype: Any, draw: Callable[[int], Array]) -> Array:
    """A new array of values that ``draw(n)`` gives, rounded to ``dtype``.

    They are drawn some thousands at a time: those of a whole kernel in float64 would take twice its
    memory. For NumPy's generators the values are those of a single call.
    """
    values = np.empty(shape, as_dtype(dtype))
    flat = values.reshape(-1)
    for begin in range(0, flat.size, _BLOCK):
        part = flat[begin : begin + _BLOCK]
        part[:] = draw(part.size)
    return values


def _truncated_normal(
    random: np.random.Generator, shape: Sequence[int], dtype: Any, mean: float, stddev: float
) -> Array:
    begin, outside = 0, [np.empty(0, np.intp)]

    def draw(size: int) -> Array:
        nonlocal begin
        unit = random.normal(size=size)
        outside.append(begin + np.flatnonzero(np.abs(unit) > 2.0))
        begin += size
        return unit * stddev + mean

    values = drawn(shape, dtype, draw)
    flat, again = values.reshape(-1), np.concatenate(outside)
    while again.size:
        unit = random.normal(size=again.size)
        flat[again] = unit * stddev + mean
        again = again[np.abs(unit) > 2.0]
    return values
