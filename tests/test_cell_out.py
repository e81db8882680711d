"""``cell(x, state, out=(c, h))``: the new state in the caller's arrays."""

from __future__ import annotations

import numpy as np
import pytest

import lstmcore


def make(**options):
    cell = lstmcore.LSTMCell(5, num_proj=3, use_peepholes=True, forget_bias=0.3, **options)
    x = np.random.default_rng(1).standard_normal((4, 7)).astype(np.float32)
    c = np.random.default_rng(2).standard_normal((4, 5)).astype(np.float32)
    h = np.random.default_rng(3).standard_normal((4, 3)).astype(np.float32)
    return cell, x, lstmcore.LSTMStateTuple(c, h)


@pytest.mark.parametrize("built", [False, True])
def test_out_is_what_a_call_returns(built):
    cell, x, state = make()
    if built:
        cell(x, state)
    c, h = np.full((4, 5), np.nan, np.float32), np.full((4, 3), np.nan, np.float32)
    output, new = cell(x, state, out=(c, h))
    assert output is h
    assert new.c is c
    assert new.h is h
    expected, expected_state = cell(x, state)
    np.testing.assert_array_equal(h, expected)
    np.testing.assert_array_equal(c, expected_state.c)


def test_c_may_be_updated_in_place():
    cell, x, state = make()
    _, expected = cell(x, state)
    h = np.empty((4, 3), np.float32)
    _, new = cell(x, state, out=(state.c, h))
    np.testing.assert_array_equal(state.c, expected.c)
    assert new.c is state.c


C, H = r"out\[0\] \(c\): ", r"out\[1\] \(h\): "
READ_ONLY = np.zeros((4, 3), np.float32)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize(
    ("c", "h", "error", "words"),
    [
        (np.empty((4, 4), np.float32), np.empty((4, 3), np.float32), ValueError, C + "expected"),
        (np.empty((4, 5), np.float32), np.empty((3, 3), np.float32), ValueError, H + "expected"),
        (np.empty((4, 5), np.float64), np.empty((4, 3), np.float32), TypeError, C + ".*float64"),
        (np.empty((5, 4), np.float32).T, np.empty((4, 3), np.float32), ValueError, C + ".*contig"),
        (np.empty((4, 5), np.float32), READ_ONLY, ValueError, H + ".*writable"),
        ([0.0], np.empty((4, 3), np.float32), TypeError, C + ".* received list"),
        (np.empty((4, 5), np.float32), None, TypeError, H + ".* received NoneType"),
        (np.ma.zeros((4, 5), np.float32), np.empty((4, 3), np.float32), TypeError, C + ".*Masked"),
    ],
)
def test_out_that_does_not_fit(c, h, error, words, built):
    cell, x, state = make()
    if built:
        cell(x, state)
    before = [part.copy() for part in state]
    with pytest.raises(error, match=words):
        cell(x, state, out=(c, h))
    for part, old in zip(state, before, strict=True):
        np.testing.assert_array_equal(part, old)


def test_out_over_an_input():
    cell, x, state = make()
    cell(x, state)
    both = np.empty((4, 8), np.float32)
    for out, words in (
        ((np.empty((4, 5), np.float32), state.h), r"out\[1\] \(h\) and h of state may not share"),
        ((x.reshape(-1)[:20].reshape(4, 5), np.empty((4, 3), np.float32)), "and inputs may not"),
        ((both.reshape(-1)[:20].reshape(4, 5), both.reshape(-1)[19:31].reshape(4, 3)), "and out"),
    ):
        with pytest.raises(ValueError, match=words):
            cell(x, state, out=out)


def test_out_for_cells_that_have_none():
    class Doubled(lstmcore.BasicLSTMCell):
        def call(self, inputs, state):
            output, state = super().call(inputs, state)
            return 2 * output, state

    x, state = np.ones((2, 3), np.float32), lstmcore.LSTMStateTuple(*np.ones((2, 2, 4), np.float32))
    out = (np.empty((2, 4), np.float32), np.empty((2, 4), np.float32))
    for cell, words in (
        (lstmcore.BasicLSTMCell(4, state_is_tuple=False), "state_is_tuple"),
        (Doubled(4), "call of their own"),
        (lstmcore.BasicLSTMCell(4, activation=np.arctan), "NumPy"),
    ):
        with pytest.raises(TypeError, match=words):
            cell(x, state, out=out)
    with pytest.raises(TypeError, match="pair"):
        lstmcore.BasicLSTMCell(4)(x, state, out=out[0])


def test_a_subclass_is_called_as_before():
    class Doubled(lstmcore.BasicLSTMCell):
        def call(self, inputs, state):
            output, state = super().call(inputs, state)
            return 2 * output, state

    cell, x = Doubled(4), np.ones((2, 3), np.float32)
    output, state = cell(x, cell.zero_state(2, np.float32))
    np.testing.assert_array_equal(output, 2 * state.h)
    again, state = cell(x, cell.zero_state(2, np.float32))
    np.testing.assert_array_equal(again, output)
    assert isinstance(state, lstmcore.LSTMStateTuple)
