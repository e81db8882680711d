"""One reduction order: results are equal bit for bit however the work is cut.

Any batch size, any number of threads, any split of a sequence into chunks, either memory layout;
and across the ISA levels that have fused multiply-add.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import core_cases
import subprocesses
from lstmcore import _core


def identical(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@settings(deadline=None, max_examples=40)
@given(problem=core_cases.problems(steps=(3,)), data=st.data())
def test_a_row_does_not_depend_on_its_batch(
    problem: core_cases.Problem, data: st.DataObject
) -> None:
    native, rows = problem.native(), problem.x.shape[0]
    whole = native.forward(problem.x, problem.c, problem.h, problem.lengths)
    chosen = data.draw(st.lists(st.integers(0, max(rows - 1, 0)), max_size=2 * rows))
    part = native.forward(
        *(a[chosen].copy() for a in (problem.x, problem.c, problem.h, problem.lengths))
    )
    for all_rows, some in zip(whole, part, strict=True):
        assert identical(all_rows[chosen], some)


@settings(deadline=None, max_examples=40)
@given(problem=core_cases.problems(steps=(1, 2, 8)), data=st.data())
def test_a_sequence_does_not_depend_on_its_chunks(
    problem: core_cases.Problem, data: st.DataObject
) -> None:
    native, steps = problem.native(), problem.x.shape[1]
    y, c, h = native.forward(problem.x, problem.c, problem.h)
    cuts = data.draw(st.lists(st.integers(0, steps), max_size=3))
    state, parts = (problem.c, problem.h), []
    for begin, end in pairwise([0, *sorted(cuts), steps]):
        part, *state = native.forward(problem.x[:, begin:end].copy(), *state)
        parts.append(part)
    assert identical(np.concatenate(parts, axis=1), y)
    assert identical(state[0], c)
    assert identical(state[1], h)


@settings(deadline=None, max_examples=40)
@given(core_cases.problems(steps=(5,)))
def test_steps_layouts_and_directions_agree(problem: core_cases.Problem) -> None:
    native = problem.native()
    y, c, h = native.forward(problem.x, problem.c, problem.h)
    state = (problem.c, problem.h)
    for t in range(5):
        state = native.step(problem.x[:, t].copy(), *state)
        assert identical(state[1], y[:, t].copy())
    assert identical(state[0], c)
    swapped = np.ascontiguousarray(problem.x.swapaxes(0, 1))
    time_major = native.forward(swapped, problem.c, problem.h, time_major=True)
    assert identical(np.ascontiguousarray(time_major[0].swapaxes(0, 1)), y)
    backwards = native.forward(problem.x[:, ::-1].copy(), problem.c, problem.h, reverse=True)
    assert identical(backwards[0][:, ::-1].copy(), y)
    assert identical(backwards[2], h)
    strided = np.zeros((*y.shape[:2], y.shape[2] + 3), y.dtype)[..., 1:-2]
    native.forward(problem.x, problem.c, problem.h, out=strided)
    assert identical(strided.copy(), y)


@pytest.fixture
def many_threads() -> Iterator[None]:
    before = _core.get_num_threads()
    _core.set_num_threads(5)
    yield
    _core.set_num_threads(before)


# Large enough that the work is spread: over rows, over units, over units with a projection after
# each.
SPREAD = {
    "rows": {"rows": 23, "steps": 8, "inputs": 60, "units": 70},
    "units": {"rows": 1, "steps": 12, "inputs": 150, "units": 211},
    "units and projection": {"rows": 2, "steps": 8, "inputs": 120, "units": 211, "proj": 130},
}


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("dtype", core_cases.DTYPES)
@pytest.mark.parametrize("spread", SPREAD)
@pytest.mark.parametrize("reverse", [False, True], ids=("ahead", "reverse"))
def test_threads(dtype: str, spread: str, reverse: bool) -> None:
    problem = core_cases.make(dtype=dtype, peepholes=True, cell_clip=0.9, **SPREAD[spread])
    problem.lengths[0] = problem.x.shape[1]
    native = problem.native()
    arguments = (problem.x, problem.c, problem.h, problem.lengths)
    one = native.forward(*arguments, reverse=reverse, threads=1)
    for threads in (2, 3, 5):
        for a, b in zip(
            one, native.forward(*arguments, reverse=reverse, threads=threads), strict=True
        ):
            assert identical(a, b)


def digest() -> str:
    """Of results over both dtypes, all activations and options, tile remainders and long sums."""
    total = hashlib.sha256()
    for k, activation in enumerate(_core.fused_activations()):
        for dtype in core_cases.DTYPES:
            problem = core_cases.make(
                rows=1 + k,
                steps=4,
                inputs=5 + 60 * k,
                units=11 + 4 * k,
                dtype=dtype,
                proj=None if k % 2 else 3 + 5 * k,
                peepholes=k % 3 != 0,
                activation=activation,
                cell_clip=1.1,
                forget_bias=0.3,
            )
            for a in problem.native().forward(problem.x, problem.c, problem.h, problem.lengths):
                total.update(a.tobytes())
            ramp = np.linspace(-30, 30, 10001).astype(dtype)
            total.update(_core.activate(activation, ramp).tobytes())
    return total.hexdigest()


def test_levels_with_fma_agree() -> None:
    levels = [level for level in subprocesses.found_levels() if level in subprocesses.FMA_LEVELS]
    if len(levels) < 2:
        pytest.skip(f"needs two levels with fused multiply-add, found {levels}")
    digests = {}
    for level in levels:
        child = subprocesses.run(
            "-c", "import test_bitwise; print(test_bitwise.digest())", LSTMCORE_FORCE_ISA=level
        )
        assert child.returncode == 0, child.stderr
        digests[level] = child.stdout.strip()
    assert len(set(digests.values())) == 1, digests
