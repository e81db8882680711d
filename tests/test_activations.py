"""The fused activations against their definitions, over the whole range of both dtypes."""

from __future__ import annotations

import numpy as np
import pytest

import reference
import tolerances
from core_cases import DTYPES
from lstmcore import _core

# Higher precision to judge each dtype by. Where long double is no longer than double, the sweep of
# float64 allows for the reference's own rounding.
WIDER = {"float32": np.float64, "float64": np.longdouble}
REFERENCE_ULPS = 1.0 if np.finfo(np.longdouble).nmant <= np.finfo(np.float64).nmant else 0.0


def every_exponent(dtype: str, mantissas: int) -> np.ndarray:
    """Both signs of every exponent, specials included, with evenly spread mantissas."""
    limits = np.finfo(dtype)
    integer = np.uint32 if dtype == "float32" else np.uint64
    exponents = np.arange(1 << limits.nexp, dtype=integer) << integer(limits.nmant)
    # An odd stride, so that low mantissa bits vary too.
    stride = (1 << limits.nmant) // mantissas | 1
    within = np.arange(mantissas, dtype=integer) * integer(stride) & integer(
        (1 << limits.nmant) - 1
    )
    positive = (exponents[:, None] | within).ravel().view(dtype)
    return np.concatenate([positive, -positive])


def sweep(dtype: str) -> np.ndarray:
    """Every exponent, and evenly the range where the functions are neither linear nor saturated."""
    middle = np.linspace(-25, 25, 400_001)
    edges = np.concatenate([np.linspace(-s - 1, s + 1, 40_001) for s in (90, 710)])
    mantissas = 4096 if dtype == "float32" else 256
    return np.concatenate(
        [every_exponent(dtype, mantissas), middle.astype(dtype), edges.astype(dtype)]
    )


def exact(name: str, x: np.ndarray) -> np.ndarray:
    """The definition in wider precision; overflow and signalling NaN are part of the sweep."""
    with np.errstate(all="ignore"):
        return reference.ACTIVATIONS[name](flushed(x).astype(WIDER[str(x.dtype)]))


def flushed(x: np.ndarray) -> np.ndarray:
    """Denormal inputs count as zeros."""
    return np.where(np.abs(x) < np.finfo(x.dtype).tiny, np.copysign(0, x), x).astype(x.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_units_in_the_last_place(name: str, dtype: str) -> None:
    x = sweep(dtype)
    x = x[~np.isnan(x)]
    expected = exact(name, x)
    errors = tolerances.ulps(_core.activate(name, x), expected)
    worst = np.argmax(errors)
    limit = tolerances.ULP[dtype][name] + (REFERENCE_ULPS if dtype == "float64" else 0.0)
    assert errors[worst] <= limit, f"{name}({x[worst]!r}) is {errors[worst]:.2f} ULP off"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", _core.fused_activations())
def test_definition(name: str, dtype: str) -> None:
    x = sweep(dtype)
    actual, expected = _core.activate(name, x), exact(name, x)
    # What the wider type still holds may be infinite in this one.
    with np.errstate(over="ignore"):
        expected = np.where(np.isinf(expected.astype(dtype)), expected.astype(dtype), expected)
    assert actual.dtype == dtype
    assert np.array_equal(np.isnan(actual), np.isnan(expected))
    infinite = np.isinf(expected)
    assert np.array_equal(actual[infinite], expected[infinite])
    finite = np.isfinite(expected)
    assert tolerances.error(actual[finite], expected[finite]) <= tolerances.ACTIVATION[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", _core.fused_activations())
def test_nan_stays_nan(name: str, dtype: str) -> None:
    for size in (1, 3, 7, 16, 19):
        x = np.linspace(-2, 2, size).astype(dtype)
        clean = _core.activate(name, x)
        for position in range(size):
            spoilt = x.copy()
            spoilt[position] = np.nan
            result = _core.activate(name, spoilt)
            assert np.isnan(result[position])
            others = np.arange(size) != position
            assert np.array_equal(result[others], clean[others])


@pytest.mark.parametrize("dtype", DTYPES)
def test_saturation(dtype: str) -> None:
    tiny = np.finfo(dtype).tiny
    far = np.array(
        [20, 1e3, np.finfo(dtype).max, np.inf] if dtype == "float32" else [40, 1e3, np.inf]
    )
    far = far.astype(dtype)
    assert (_core.activate("tanh", far) == 1).all()
    assert (_core.activate("tanh", -far) == -1).all()
    assert (_core.activate("sigmoid", far) == 1).all()
    gone = np.array([np.log(tiny) - 1, -1e4, -np.inf]).astype(dtype)
    assert (_core.activate("sigmoid", gone) == 0).all()
    assert (_core.activate("exponential", gone) == 0).all()
    assert np.isinf(_core.activate("exponential", np.array([711, np.inf], dtype))).all()
    # Never beyond the bounds, and never falling, where rounding could make it so.
    near = np.linspace(0, 40, 300_001).astype(dtype)
    for name, bound in (("tanh", 1), ("sigmoid", 1)):
        values = _core.activate(name, near)
        assert values.max() == bound
        assert (np.diff(values) >= -4 * np.finfo(dtype).eps).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_denormals_are_flushed(dtype: str) -> None:
    tiny = np.finfo(dtype).tiny
    x = np.array([tiny / 2, tiny / 1024, -tiny / 2], dtype)
    assert not _core.activate("tanh", x).any()
    assert (_core.activate("sigmoid", x) == 0.5).all()
    sinking = np.linspace(np.log(tiny) - 3, np.log(tiny) + 3, 10_001).astype(dtype)
    for name in ("sigmoid", "exponential"):
        values = _core.activate(name, sinking)
        assert ((values == 0) | (values >= tiny)).all()
        assert values[0] == 0
        assert values[-1] > 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_shape_and_sign(dtype: str) -> None:
    x = np.linspace(-3, 3, 2 * 5 * 7, dtype=dtype).reshape(2, 5, 7)
    assert _core.activate("tanh", x).shape == x.shape
    assert _core.activate("tanh", x[:0]).shape == (0, 5, 7)
    zeros = np.array([0.0, -0.0], dtype)
    assert np.signbit(_core.activate("tanh", zeros)).tolist() == [False, True]
    assert np.array_equal(_core.activate("tanh", -x), -_core.activate("tanh", x))
