"""The native core against the float64 reference, over shapes, options, layouts and strides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import core_cases
import reference
import tolerances
from lstmcore import _core

SENTINEL = 7.25  # fills memory that a call must not touch


def assert_close(actual: np.ndarray, expected: np.ndarray, quantity: str) -> None:
    limit = tolerances.AGAINST_REFERENCE[str(actual.dtype)][quantity]
    assert tolerances.error(actual, expected) <= limit


def swap(a: np.ndarray) -> np.ndarray:
    """Batch-major to time-major and back."""
    return np.ascontiguousarray(a.swapaxes(0, 1))


@settings(deadline=None, max_examples=120)
@given(core_cases.problems(steps=(1,)))
def test_step(problem: core_cases.Problem) -> None:
    x = np.ascontiguousarray(problem.x[:, 0])
    c, h = problem.native().step(x, problem.c, problem.h)
    exact_c, exact_h = reference.step(problem.exact_cell(), x, problem.c, problem.h)
    assert c.dtype == h.dtype == problem.x.dtype
    assert_close(c, exact_c, "step")
    assert_close(h, exact_h, "step")


@settings(deadline=None, max_examples=120)
@given(
    problem=core_cases.problems(steps=(0, 1, 2, 3, 7)),
    time_major=st.booleans(),
    reverse=st.booleans(),
    with_lengths=st.booleans(),
    with_state=st.booleans(),
    threads=st.sampled_from((None, 1, 2, 3)),
)
def test_forward(
    problem: core_cases.Problem,
    time_major: bool,
    reverse: bool,
    with_lengths: bool,
    with_state: bool,
    threads: int | None,
) -> None:
    lengths = problem.lengths if with_lengths else None
    state = (problem.c, problem.h) if with_state else (None, None)
    y, c, h = problem.native().forward(
        swap(problem.x) if time_major else problem.x,
        *state,
        lengths,
        time_major=time_major,
        reverse=reverse,
        threads=threads,
    )
    exact = reference.forward(problem.exact_cell(), problem.x, *state, lengths, reverse=reverse)
    assert y.flags.c_contiguous
    assert y.dtype == problem.x.dtype
    y = swap(y) if time_major else y
    for actual, expected in ((y, exact.y), (c, exact.c), (h, exact.h)):
        assert_close(actual, expected, "sequence")
    if with_lengths:
        past = np.arange(y.shape[1]) >= problem.lengths[:, None]
        assert np.array_equal(y[past], np.zeros_like(y[past]))
        empty = problem.lengths == 0
        if with_state:
            assert np.array_equal(c[empty], problem.c[empty])
            assert np.array_equal(h[empty], problem.h[empty])


# How an output array may lie in memory: (shape of the owner, view of it), from the result's shape.
LAYOUTS = {
    "slice of a wider last axis": (
        lambda n, t, w: (n, t, w + 5),
        lambda a: a[:, :, 2:-3],
    ),
    "every other time step": (lambda n, t, w: (n, 2 * t, w), lambda a: a[:, ::2]),
    "axes swapped": (lambda n, t, w: (t, n, w), lambda a: a.swapaxes(0, 1)),
    "backwards in time": (lambda n, t, w: (n, t, w), lambda a: a[:, ::-1]),
    "rows of a bigger batch": (lambda n, t, w: (3 * n, t, w), lambda a: a[1::3]),
}


@pytest.mark.parametrize("dtype", core_cases.DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("time_major", [False, True], ids=("batch_major", "time_major"))
@pytest.mark.parametrize("reverse", [False, True], ids=("ahead", "reverse"))
@pytest.mark.parametrize("proj", [None, 5])
def test_strided_outputs(
    dtype: str, layout: str, time_major: bool, reverse: bool, proj: int | None
) -> None:
    problem = core_cases.make(
        rows=5, steps=7, inputs=6, units=19, dtype=dtype, proj=proj, peepholes=True, cell_clip=0.8
    )
    owner_shape, view = LAYOUTS[layout]
    steps_rows = (7, 5) if time_major else (5, 7)
    results = {}
    for name, width in (("out", proj or 19), ("c_out", 19)):
        owner = np.full(owner_shape(*steps_rows, width), SENTINEL, dtype)
        results[name] = (owner, view(owner))
    y, c, h = problem.native().forward(
        swap(problem.x) if time_major else problem.x,
        problem.c,
        problem.h,
        problem.lengths,
        time_major=time_major,
        reverse=reverse,
        out=results["out"][1],
        c_out=results["c_out"][1],
    )
    exact = reference.forward(
        problem.exact_cell(), problem.x, problem.c, problem.h, problem.lengths, reverse=reverse
    )
    assert y is results["out"][1]
    for name, expected in (("out", exact.y), ("c_out", exact.cs)):
        owner, written = results[name]
        assert_close(np.array(swap(written) if time_major else written), expected, "sequence")
        inside = np.zeros(owner.shape, bool)
        view(inside)[...] = True
        assert (owner[~inside] == SENTINEL).all()
    assert_close(c, exact.c, "sequence")
    assert_close(h, exact.h, "sequence")


@settings(deadline=None, max_examples=60)
@given(problem=core_cases.problems(steps=(0, 1, 2, 6), gates=True), data=st.data())
def test_forward_gates(problem: core_cases.Problem, data: st.DataObject) -> None:
    x = swap(problem.x)
    steps = data.draw(st.integers(0, x.shape[0]))
    outputs = problem.native().forward_gates(x, problem.c, problem.h, steps)
    exact = reference.block_sequence(problem.exact_cell(), x, problem.c, problem.h, steps)
    expected = (exact.i, exact.cs, exact.f, exact.o, exact.ci, exact.co, exact.h)
    assert len(outputs) == len(expected)
    for actual, value in zip(outputs, expected, strict=True):
        assert actual.shape == (*x.shape[:2], problem.cell.num_units)
        assert_close(actual[:steps], value[:steps], "gates" if steps <= 1 else "sequence")
        assert not actual[steps:].any()


@pytest.mark.parametrize("dtype", core_cases.DTYPES)
@pytest.mark.parametrize(("inputs", "units"), [(1024, 1024), (2041, 7)])
def test_long_sums(dtype: str, inputs: int, units: int) -> None:
    """2048 terms and gates up to 6."""
    problem = core_cases.make(rows=2, inputs=inputs, units=units, dtype=dtype, scale=3.0)
    x = np.ascontiguousarray(problem.x[:, 0])
    c, h = problem.native().step(x, problem.c, problem.h)
    exact_c, exact_h = reference.step(problem.exact_cell(), x, problem.c, problem.h)
    assert_close(c, exact_c, "long_sum")
    assert_close(h, exact_h, "long_sum")


def test_long_sums_are_made_of_blocks() -> None:
    """A projection of 2048 positive terms: one running sum would be 1e-6 off, relatively."""
    units = 2048
    random = np.random.default_rng(1)
    gates = [np.full(units, 30), random.random(units), np.full(units, -30), np.full(units, 30)]
    projection = random.random((units, 5)).astype(np.float32)
    native = _core.Lstm(
        np.zeros((1 + 5, 4 * units), np.float32),
        np.concatenate(gates).astype(np.float32),
        num_units=units,
        proj_kernel=projection,
        activation="linear",
    )
    zeros = [np.zeros((1, width), np.float32) for width in (1, units, 5)]
    c, h = native.step(*zeros)
    assert np.abs(h / (c.astype(np.float64) @ projection.astype(np.float64)) - 1).max() < 4e-7


def test_long_sequence() -> None:
    """A thousand steps drift no further than forty."""
    problem = core_cases.make(rows=2, steps=1000, inputs=3, units=21, proj=8, peepholes=True)
    y, c, h = problem.native().forward(problem.x, problem.c, problem.h)
    exact = reference.forward(problem.exact_cell(), problem.x, problem.c, problem.h)
    for actual, expected in ((y, exact.y), (c, exact.c), (h, exact.h)):
        assert_close(actual, expected, "sequence")
