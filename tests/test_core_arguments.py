"""What the native core refuses, naming the argument, before anything is written."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import core_cases
from lstmcore import _core

N, T, DEPTH, H, P = 3, 4, 6, 9, 5


def misaligned(a: np.ndarray) -> np.ndarray:
    raw = np.zeros(a.nbytes + 1, np.uint8)[1:]
    raw[...] = a.reshape(-1).view(np.uint8)
    return raw.view(a.dtype).reshape(a.shape)


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


BAD_ARRAYS: dict[str, tuple[type[Exception], Callable[[np.ndarray], Any]]] = {
    "other float": (TypeError, lambda a: a.astype(np.float64)),
    "half": (TypeError, lambda a: a.astype(np.float16)),
    "integers": (TypeError, lambda a: a.astype(np.int32)),
    "byte order": (TypeError, lambda a: a.astype(">f4")),
    "list": (TypeError, lambda a: a.tolist()),
    "none of these": (TypeError, lambda a: object()),
    "rank": (ValueError, lambda a: a[None]),
    "width": (ValueError, lambda a: np.concatenate([a, a], axis=-1)),
    "fortran order": (ValueError, np.asfortranarray),
    "strides": (ValueError, lambda a: np.repeat(a, 2, axis=-1)[..., ::2]),
    "misaligned": (ValueError, misaligned),
}


@pytest.fixture
def problem() -> core_cases.Problem:
    return core_cases.make(rows=N, steps=T, inputs=DEPTH, units=H, proj=P, peepholes=True)


@pytest.mark.parametrize("bad", BAD_ARRAYS)
@pytest.mark.parametrize("name", ["x", "c", "h"])
def test_step(problem: core_cases.Problem, name: str, bad: str) -> None:
    error, spoil = BAD_ARRAYS[bad]
    arguments = {"x": problem.x[:, 0].copy(), "c": problem.c, "h": problem.h}
    arguments[name] = spoil(arguments[name])
    with pytest.raises(error, match=f"^{name}: expected"):
        problem.native().step(**arguments)


@pytest.mark.parametrize("bad", BAD_ARRAYS)
@pytest.mark.parametrize("name", ["x", "c0", "h0"])
def test_forward(problem: core_cases.Problem, name: str, bad: str) -> None:
    error, spoil = BAD_ARRAYS[bad]
    arguments = {"x": problem.x, "c0": problem.c, "h0": problem.h}
    arguments[name] = spoil(arguments[name])
    out = np.full((N, T, P), 7.25, np.float32)
    with pytest.raises(error, match=f"^{name}: expected"):
        problem.native().forward(**arguments, out=out)
    assert (out == 7.25).all()


WEIGHTS = ("kernel", "bias", "w_i_diag", "w_f_diag", "w_o_diag", "proj_kernel")
# A vector is in both orders at once, and a wider projection puts the kernel in the wrong.
NOT_BAD = {(name, "fortran order") for name in WEIGHTS[1:5]} | {("proj_kernel", "width")}


@pytest.mark.parametrize(
    ("name", "bad"),
    [(name, bad) for name in WEIGHTS for bad in BAD_ARRAYS if (name, bad) not in NOT_BAD],
)
def test_weights(problem: core_cases.Problem, name: str, bad: str) -> None:
    error, spoil = BAD_ARRAYS[bad]
    weights = {n: getattr(problem.cell, n) for n in WEIGHTS}
    weights[name] = spoil(weights[name])
    # The kernel decides the dtype, so one of another supported dtype makes the next array the odd
    # one.
    named = "proj_kernel" if (name, bad) == ("kernel", "other float") else name
    with pytest.raises(error, match=f"^{named}: expected"):
        _core.Lstm(num_units=H, **weights)


@pytest.mark.parametrize("missing", ["w_i_diag", "w_f_diag", "w_o_diag"])
def test_peepholes_come_together(problem: core_cases.Problem, missing: str) -> None:
    diags = dict.fromkeys(("w_i_diag", "w_f_diag", "w_o_diag"), problem.cell.w_i_diag)
    del diags[missing]
    kernel = np.zeros((DEPTH + H, 4 * H), np.float32)
    with pytest.raises(TypeError, match=f"^{missing}: expected"):
        _core.Lstm(kernel, problem.cell.bias, num_units=H, **diags)


def test_construction(problem: core_cases.Problem) -> None:
    kernel, bias = np.zeros((DEPTH + H, 4 * H), np.float32), problem.cell.bias
    with pytest.raises(ValueError, match="num_units"):
        _core.Lstm(kernel, bias, num_units=-1)
    with pytest.raises(ValueError, match="kernel"):
        _core.Lstm(kernel, bias, num_units=H + 1)
    with pytest.raises(ValueError, match="kernel: expected at least 9 rows"):
        _core.Lstm(kernel[: H - 1].copy(), bias, num_units=H)
    with pytest.raises(ValueError, match="swish2"):
        _core.Lstm(kernel, bias, num_units=H, activation="swish2")


OUTPUT_FLAWS: dict[str, Callable[[np.ndarray], Any]] = {
    "read-only": read_only,
    "rank": lambda a: a[0],
    "shape": lambda a: a[:, :-1],
    "inner stride": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "broadcast": lambda a: np.lib.stride_tricks.as_strided(a, a.shape, (0, *a.strides[1:])),
    "misaligned": misaligned,
}


@pytest.mark.parametrize("flaw", OUTPUT_FLAWS)
@pytest.mark.parametrize(("name", "width"), [("out", P), ("c_out", H)])
def test_outputs(problem: core_cases.Problem, name: str, width: int, flaw: str) -> None:
    bad = OUTPUT_FLAWS[flaw](np.zeros((N, T, width), np.float32))
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        problem.native().forward(problem.x, **{name: bad})
    with pytest.raises(TypeError, match=f"^{name}: expected"):
        problem.native().forward(problem.x, **{name: np.zeros((N, T, width))})


def test_an_output_does_not_overlap_itself(problem: core_cases.Problem) -> None:
    buffer = np.zeros(4 * N * T * P, np.float32)
    overlapping = np.lib.stride_tricks.as_strided(buffer, (N, T, P), (4, 4 * N * P, 4))
    with pytest.raises(ValueError, match="out: expected distinct elements"):
        problem.native().forward(problem.x, out=overlapping)
    assert not buffer.any()


@pytest.mark.parametrize("bad", [0, -5])
def test_thread_limits_are_positive(problem: core_cases.Problem, bad: int) -> None:
    with pytest.raises(ValueError, match=f"threads must be in 1..1024, got {bad}"):
        problem.native().forward(problem.x, threads=bad)


def test_outputs_share_no_memory(problem: core_cases.Problem) -> None:
    native = problem.native()
    both = np.zeros((N, T, P + H), np.float32)
    native.forward(problem.x, out=both[..., :P])
    with pytest.raises(ValueError, match="c_out and out may not share memory"):
        native.forward(problem.x, out=both[..., :P], c_out=both[..., P - 1 : P - 1 + H])
    square = core_cases.make(rows=N, steps=T, inputs=H, units=H)
    with pytest.raises(ValueError, match="out and x may not share memory"):
        square.native().forward(square.x, out=square.x)


@pytest.mark.parametrize("value", [-1, T + 1, 2**40, -(2**63)])
def test_length_values(problem: core_cases.Problem, value: int) -> None:
    lengths = np.array([T, value, 0])
    out = np.full((N, T, P), 7.25, np.float32)
    with pytest.raises(ValueError, match=r"lengths\[1\] must be in 0\.\.4"):
        problem.native().forward(problem.x, lengths=lengths, out=out)
    assert (out == 7.25).all()


def test_length_arrays(problem: core_cases.Problem) -> None:
    for bad in (np.ones(N, np.int32), np.ones(N), [1, 2, 3]):
        with pytest.raises(TypeError, match=r"^lengths: expected"):
            problem.native().forward(problem.x, lengths=bad)
    for bad in (np.ones(N + 1, np.int64), np.ones((N, 1), np.int64), np.ones(2 * N, np.int64)[::2]):
        with pytest.raises(ValueError, match=r"^lengths: expected"):
            problem.native().forward(problem.x, lengths=bad)


def test_forward_gates(problem: core_cases.Problem) -> None:
    plain = core_cases.make(rows=N, steps=T, inputs=DEPTH, units=H)
    x = np.ascontiguousarray(plain.x.swapaxes(0, 1))
    for steps in (-1, T + 1):
        with pytest.raises(ValueError, match=r"steps must be in 0\.\.4"):
            plain.native().forward_gates(x, plain.c, plain.h, steps)
    with pytest.raises(ValueError, match="projection"):
        h = np.zeros((N, H), np.float32)
        problem.native().forward_gates(x, problem.c, h, T)


def test_activate() -> None:
    with pytest.raises(ValueError, match="tanhh"):
        _core.activate("tanhh", np.zeros(3))
    with pytest.raises(TypeError, match=r"^x: expected"):
        _core.activate("tanh", np.zeros(3, np.float16))
    with pytest.raises(ValueError, match=r"^x: expected"):
        _core.activate("tanh", np.zeros(6)[::2])


@pytest.mark.parametrize("kind", [time.struct_time, os.stat_result, type(sys.flags), bool, list])
def test_kinds_of_states_that_are_no_classes_of_tuples(kind: type) -> None:
    lstm = _core.Lstm(np.ones((5, 8), np.float32), np.ones(8, np.float32), num_units=2)
    c = np.zeros((N, 2), np.float32)
    with pytest.raises(TypeError, match="state_type: expected a class of tuples, got "):
        lstm.cell_step(np.zeros((N, 3), np.float32), (c, c), kind)


UNMADE: dict[str, Callable[[type], Any]] = {
    "Lstm": lambda T: T.__new__(T).input_size,
    "Lstm.cell_step": lambda T: T.__new__(T).cell_step(
        np.zeros((1, 3), np.float32), 2 * (np.zeros((1, 2), np.float32),), tuple
    ),
    "Lstm in a stack": lambda T: _core.Stack([(T.__new__(T), None)]),
    "Stack": lambda T: T.__new__(T).forward(np.zeros((1, 1, 3), np.float32), ()),
    "StreamBank": lambda T: T.__new__(T).trim(),
    "DeviceArray": lambda T: T.__new__(T).shape,
    "CudaLibrary": lambda T: T.__new__(T).device_count(),
    "CudaContext": lambda T: T.__new__(T).synchronize(0),
    "CudaLayer": lambda T: T.__new__(T).plan(1, 1),
}


@pytest.mark.parametrize("name", UNMADE)
def test_objects_whose_constructor_was_not_called(name: str) -> None:
    with pytest.raises(TypeError, match="constructor was not called"):
        UNMADE[name](getattr(_core, re.match(r"\w+", name)[0]))
