"""The native core at its edges: empty sizes, special values, denormals, memory."""

from __future__ import annotations

import numpy as np
import pytest

import core_cases
import reference
import tolerances
from lstmcore import _core

INF, NAN = np.inf, np.nan


@pytest.mark.parametrize("dtype", core_cases.DTYPES)
@pytest.mark.parametrize(
    ("rows", "steps", "inputs", "units", "proj"),
    [(0, 4, 3, 5, None), (3, 0, 3, 5, 2), (0, 0, 3, 5, 2), (3, 4, 0, 5, None), (3, 4, 2, 5, 0)],
    ids=("batch 0", "time 0", "batch 0 and time 0", "depth 0", "projection 0"),
)
def test_empty(
    dtype: str, rows: int, steps: int, inputs: int, units: int, proj: int | None
) -> None:
    sizes = {"rows": rows, "steps": steps, "inputs": inputs, "units": units, "proj": proj}
    problem = core_cases.make(dtype=dtype, **sizes)
    result = problem.native().forward(problem.x, problem.c, problem.h)
    exact = reference.forward(problem.exact_cell(), problem.x, problem.c, problem.h)
    for actual, expected in zip(result, (exact.y, exact.c, exact.h), strict=True):
        assert tolerances.error(actual, expected) <= 1e-6


@pytest.mark.parametrize("dtype", core_cases.DTYPES)
def test_clip_limits(dtype: str) -> None:
    """TensorFlow clips to the upper bound first: limit 0 gives 0, a negative one its opposite."""
    for limit, expected in ((0.0, 0.0), (-0.5, 0.5), (0.3, None)):
        problem = core_cases.make(dtype=dtype, cell_clip=limit, forget_bias=3.0, steps=1)
        c, _ = problem.native().step(problem.x[:, 0].copy(), problem.c * 9, problem.h)
        if expected is None:
            assert np.abs(c).max() == np.dtype(dtype).type(limit)
        else:
            assert (c == expected).all()


@pytest.mark.parametrize("dtype", core_cases.DTYPES)
def test_nan_in_an_input_reaches_its_row_only(dtype: str) -> None:
    problem = core_cases.make(rows=7, steps=3, units=19, dtype=dtype, proj=5)
    clean, _, _ = problem.native().forward(problem.x, problem.c, problem.h)
    problem.x[4, 1, 2] = NAN
    dirty, c, h = problem.native().forward(problem.x, problem.c, problem.h)
    others = np.arange(7) != 4
    assert np.array_equal(dirty[others], clean[others])
    assert np.array_equal(dirty[4, 0], clean[4, 0])
    assert np.isnan(dirty[4, 1:]).all()
    assert np.isnan(c[4]).all()
    assert np.isnan(h[4]).all()


@pytest.mark.parametrize("dtype", core_cases.DTYPES)
def test_padding_never_leaks(dtype: str) -> None:
    problem = core_cases.make(rows=6, steps=9, units=17, dtype=dtype, peepholes=True)
    clean = problem.native().forward(problem.x, problem.c, problem.h, problem.lengths)
    padding = np.arange(9) >= problem.lengths[:, None]
    assert padding.any()
    assert not padding.all()
    for value in (NAN, INF, -INF):
        problem.x[padding] = value
        result = problem.native().forward(problem.x, problem.c, problem.h, problem.lengths)
        for a, b in zip(result, clean, strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", core_cases.DTYPES)
@pytest.mark.parametrize("clip", [None, 2.0])
@pytest.mark.parametrize("value", [NAN, INF, -INF], ids=("nan", "inf", "-inf"))
def test_special_value_in_a_state_stays_in_its_unit(
    dtype: str, clip: float | None, value: float
) -> None:
    problem = core_cases.make(dtype=dtype, units=21, cell_clip=clip)
    x = problem.x[:, 0].copy()
    clean_c, clean_h = problem.native().step(x, problem.c, problem.h)
    problem.c[1, 17] = value
    c, h = problem.native().step(x, problem.c, problem.h)
    exact_c, exact_h = reference.step(problem.exact_cell(), x, problem.c, problem.h)
    assert np.array_equal(c[1, 17], clip_to(value, clip), equal_nan=True)
    np.testing.assert_allclose(h[1, 17], exact_h[1, 17], rtol=1e-6)
    assert np.array_equal(c[1, 17], exact_c[1, 17], equal_nan=True)
    others = np.ones(c.shape, bool)
    others[1, 17] = False
    assert np.array_equal(c[others], clean_c[others])
    assert np.array_equal(h[others], clean_h[others])


def clip_to(value: float, limit: float | None) -> float:
    return value if limit is None else float(np.clip(value, -limit, limit))


@pytest.mark.parametrize("dtype", core_cases.DTYPES)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.filterwarnings("ignore:invalid value")  # of the reference
def test_infinite_inputs_saturate_cleanly(dtype: str, sign: int) -> None:
    problem = core_cases.make(dtype=dtype, units=9, inputs=1, peepholes=True, cell_clip=3.0)
    x = np.full((3, 1), sign * INF, dtype)
    result = problem.native().step(x, problem.c, problem.h)
    exact = reference.step(problem.exact_cell(), x, problem.c, problem.h)
    for actual, expected in zip(result, exact, strict=True):
        assert np.isfinite(actual).all()
        assert tolerances.error(actual, expected) <= 1e-6


@pytest.mark.parametrize("dtype", core_cases.DTYPES)
@pytest.mark.parametrize(("bias", "gate"), [(INF, 1), (-INF, 0)])
def test_infinite_forget_bias(dtype: str, bias: float, gate: int) -> None:
    problem = core_cases.make(dtype=dtype, steps=2, forget_bias=bias)
    x = np.ascontiguousarray(problem.x.swapaxes(0, 1))
    f = problem.native().forward_gates(x, problem.c, problem.h, 2)[2]
    assert (f == gate).all()


@pytest.mark.parametrize("dtype", core_cases.DTYPES)
def test_denormals_are_flushed(dtype: str) -> None:
    """c' = f c + i relu(j) with j < 0: a denormal c has decayed to nothing."""
    units = 40
    native = _core.Lstm(
        np.zeros((3 + units, 4 * units), dtype),
        np.full(4 * units, -1, dtype),
        num_units=units,
        activation="relu",
    )
    c = np.full((9, units), np.finfo(dtype).tiny / 64, dtype)
    result = native.step(np.zeros((9, 3), dtype), c, np.ones((9, units), dtype))
    assert not result[0].any()
    assert not result[1].any()


@pytest.mark.parametrize("dtype", core_cases.DTYPES)
def test_the_denormal_mode_is_restored(dtype: str) -> None:
    denormals = np.full(67, np.finfo(dtype).tiny / 64, dtype)
    half = np.dtype(dtype).type(0.5)
    kept = (denormals * half).tobytes()
    assert np.frombuffer(kept, dtype).all()
    problem = core_cases.make(dtype=dtype, rows=9, steps=30, inputs=60, units=100)
    native, x = problem.native(), problem.x[:, 0].copy()
    calls = [
        lambda: native.step(x, problem.c, problem.h),
        lambda: native.forward(problem.x, threads=1),
        lambda: native.forward(problem.x, threads=2),
        lambda: _core.activate("tanh", denormals),
    ]
    for call in calls:
        call()
        assert (denormals * half).tobytes() == kept
    with pytest.raises(ValueError, match="lengths"):
        native.forward(problem.x, lengths=np.full(9, 31))
    assert (denormals * half).tobytes() == kept


def test_weights_are_copied_and_inputs_left_alone() -> None:
    problem = core_cases.make(proj=4, peepholes=True)
    native = problem.native()
    arguments = (problem.x, problem.c, problem.h, problem.lengths)
    before = [a.copy() for a in arguments]
    first = native.forward(*arguments)
    for a, b in zip(arguments, before, strict=True):
        assert np.array_equal(a, b)
    cell = problem.cell
    for weights in (cell.kernel, cell.bias, cell.w_i_diag, cell.w_o_diag, cell.proj_kernel):
        weights[...] = NAN
    second = native.forward(*arguments)
    for a, b in zip(first, second, strict=True):
        assert a.tobytes() == b.tobytes()
        assert not np.shares_memory(a, b)


def test_properties() -> None:
    problem = core_cases.make(inputs=6, units=9, proj=4, dtype="float64")
    native = problem.native()
    assert (native.input_size, native.num_units, native.output_size) == (6, 9, 4)
    assert native.dtype == "float64"
    assert native.isa == _core.info()["isa"]
    assert native.packed_bytes >= 8 * (10 * 36 + 36 + 36)
