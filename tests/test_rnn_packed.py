"""packed_rnn: each row as alone, whatever its length and those of the others."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lstmcore
from lstmcore import nest
from rnn_cases import draw


def built(cell, width, dtype=np.float32):
    with lstmcore.Graph().as_default():
        cell(draw(2, width, dtype=dtype), cell.zero_state(2, dtype))
    return cell


def peephole_cell(dtype=np.float32):
    options = {"use_peepholes": True, "cell_clip": 0.8, "num_proj": 6, "forget_bias": 0.4}
    return built(lstmcore.LSTMCell(9, dtype=dtype, **options), 5, dtype)


def stack():
    cells = [lstmcore.BasicLSTMCell(7), lstmcore.LSTMCell(4, use_peepholes=True)]
    return built(lstmcore.MultiRNNCell(cells), 5)


def flat(state):
    return nest.flatten(state)


def drawn_state(cell, rows, dtype):
    state = cell.zero_state(rows, dtype)
    for k, array in enumerate(flat(state)):
        array[:] = draw(*array.shape, seed=k, dtype=dtype)
    return state


@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=12), double=st.booleans())
def test_rows_are_those_of_dynamic_rnn(lengths, double):
    dtype = np.float64 if double else np.float32
    cell = peephole_cell(dtype)
    offsets = np.cumsum([0, *lengths])
    values = draw(offsets[-1], 5, dtype=dtype)
    state = drawn_state(cell, len(lengths), dtype)
    outputs, (c, h) = lstmcore.packed_rnn(cell, values, offsets, state)
    for n, (begin, end) in enumerate(itertools.pairwise(offsets)):
        row_state = lstmcore.LSTMStateTuple(state.c[n : n + 1], state.h[n : n + 1])
        if end > begin:
            alone, row_state = lstmcore.dynamic_rnn(
                cell, values[None, begin:end], initial_state=row_state
            )
            assert np.array_equal(outputs[begin:end], alone[0])
        assert np.array_equal(c[n : n + 1], row_state.c)
        assert np.array_equal(h[n : n + 1], row_state.h)


def test_layers_and_zero_state():
    cell, lengths = stack(), np.array([3, 0, 8, 1])
    offsets = np.cumsum([0, *lengths]).astype(np.int32)
    x = draw(4, 8, 5)
    outputs, state = lstmcore.packed_rnn(
        cell, np.concatenate([x[n, :k] for n, k in enumerate(lengths)]), offsets
    )
    padded, expected = lstmcore.dynamic_rnn(cell, x, lengths, dtype=np.float32)
    for n, length in enumerate(lengths):
        assert np.array_equal(outputs[offsets[n] : offsets[n + 1]], padded[n, :length])
    for ours, theirs in zip(flat(state), flat(expected), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"offsets": [0, 4, 3, 10]}, ValueError, "offsets must not decrease, got 3 after 4"),
        ({"offsets": [1, 4, 10]}, ValueError, "offsets: expected to begin with 0"),
        ({"offsets": [0, 4, 9]}, ValueError, "end with 10, the length of x, got 0 and 9"),
        ({"offsets": []}, ValueError, "offsets: expected"),
        ({"offsets": [0.0, 10.0]}, ValueError, "offsets: expected integers"),
        ({"offsets": [[0, 10]]}, ValueError, r"offsets: expected integers of shape \(rows \+ 1,\)"),
        (
            {"values": draw(10, 4)},
            ValueError,
            r"a float32 array of shape \(any, 5",
        ),
        ({"values": draw(10, 5, dtype=np.float64)}, ValueError, "values: expected a float32"),
        ({"values": draw(2, 5, 5)}, ValueError, "values: expected"),
        ({"initial_state": 5}, ValueError, "nested structure"),
        ({"initial_state": (draw(3, 9), draw(2, 6))}, ValueError, "c0: expected"),
    ],
)
def test_refused(change, error, match):
    arguments = {"values": draw(10, 5), "offsets": [0, 4, 10], "initial_state": None} | change
    arguments["offsets"] = np.array(arguments["offsets"])
    with pytest.raises(error, match=match):
        lstmcore.packed_rnn(peephole_cell(), **arguments)


def test_cells_that_are_refused():
    with pytest.raises(ValueError, match="not built"):
        lstmcore.packed_rnn(lstmcore.BasicLSTMCell(3), draw(2, 5), np.array([0, 2]))
    with pytest.raises(TypeError, match="cell"):
        lstmcore.packed_rnn("cell", draw(2, 5), np.array([0, 2]))
    cell = built(lstmcore.BasicLSTMCell(3, state_is_tuple=True, activation=lambda x: x / 2), 5)
    with pytest.raises(TypeError):
        lstmcore.packed_rnn(cell, draw(2, 5), np.array([0, 2]))
