"""Every numeric tolerance of the test suite, in one place.

Absolute errors are relative to ``max(1, |expected|)`` (see :func:`error`), since states are of
order one.
"""

from __future__ import annotations

import numpy as np

# Largest allowed error against the float64 reference, per dtype and quantity.
AGAINST_REFERENCE: dict[str, dict[str, float]] = {
    "float32": {
        "step": 1e-6,  # one time step from exact inputs
        "sequence": 2e-6,  # up to a few hundred steps with contracting states
        "gates": 1e-6,  # each of the seven outputs of the block operations
        "long_sum": 2e-6,  # one step at K = I + H = 2048
    },
    "float64": {"step": 2e-14, "sequence": 1e-12, "gates": 2e-14, "long_sum": 1e-13},
}

# Largest allowed difference from TensorFlow's own results. Both sides round, so the allowance is
# twice that against the exact value.
AGAINST_TENSORFLOW: dict[str, float] = {"float32": 4e-6, "float64": 2e-12}

# Over 40 steps: our largest error may be this many times TensorFlow's own on the same case
# (float32).
TIMES_TENSORFLOW_ERROR = 1.5
# ... and at most this (float64).
FORTY_STEPS_FLOAT64 = 1e-12

# Units in the last place over the whole range, against a value computed in higher precision.
ULP: dict[str, dict[str, float]] = {
    "float32": {"tanh": 4.0, "sigmoid": 4.0},
    "float64": {"tanh": 4.0, "sigmoid": 4.0},
}
# The other fused activations, compared with their definition: error relative to max(1, |expected|).
ACTIVATION: dict[str, float] = {"float32": 5e-7, "float64": 1e-15}


def error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Largest ``|actual - expected| / max(1, |expected|)``; NaN if either has one; 0 if empty."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    if not actual.size:
        return 0.0
    return float(np.max(np.abs(actual - expected) / np.maximum(1.0, np.abs(expected))))


def ulps(actual: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Error of ``actual`` in units in the last place of its dtype, measured at ``expected``.

    ``expected`` holds values of higher precision. Below the smallest normal number results are
    flushed to zero by design, so zero counts as exact there.
    """
    limits = np.finfo(actual.dtype)
    wide = expected.dtype.type
    magnitude = np.maximum(np.abs(expected), wide(limits.tiny))
    exponent = np.frexp(magnitude)[1]
    unit = np.ldexp(wide(1), exponent - 1 - limits.nmant)
    flushed = (actual == 0) & (np.abs(expected) < wide(limits.tiny))
    return np.where(flushed, 0.0, np.abs(actual.astype(wide) - expected) / unit)
