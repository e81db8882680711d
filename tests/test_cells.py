"""One step of BasicLSTMCell and LSTMCell: every option, inputs and states of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
import tolerances
from cell_helpers import make, reference_cell
from lstmcore.cells.lstm_cells import BasicLSTMCell, LSTMCell
from lstmcore.cells.rnn_cell import LSTMStateTuple
from lstmcore.errors import InvalidArgumentError
from lstmcore.variables.graph import Graph

OPTIONS = {
    "plain": {},
    "no_forget_bias": {"forget_bias": -0.75},
    "peepholes": {"use_peepholes": True},
    "clip": {"cell_clip": 0.3},
    "projection": {"num_proj": 2},
    "wide_projection": {"num_proj": 9, "proj_clip": 0.25},
    "everything": {
        "use_peepholes": True,
        "cell_clip": 0.4,
        "num_proj": 3,
        "proj_clip": 0.2,
        "forget_bias": 0.5,
    },
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "hard_sigmoid", "softplus"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_step_against_reference(options, activation, dtype):
    cell = LSTMCell(4, activation=activation, **options)
    x, c, h = make(cell, dtype=np.dtype(dtype))
    output, state = cell(x, LSTMStateTuple(c, h))
    expected_c, expected_h = reference.step(reference_cell(cell), x, c, h)
    tolerance = tolerances.AGAINST_REFERENCE[dtype]["step"]
    assert tolerances.error(state.c, expected_c) <= tolerance
    assert tolerances.error(output, expected_h) <= tolerance
    assert output.dtype == state.c.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(state.h, output)


@settings(deadline=None, max_examples=60)
@given(
    batch=st.sampled_from([0, 1, 2, 5]),
    depth=st.sampled_from([0, 1, 3, 7, 17]),
    units=st.sampled_from([0, 1, 7, 8, 9, 15, 16, 17, 33]),
    proj=st.sampled_from([None, 1, 5, 17]),
    fused=st.booleans(),
)
def test_shapes(batch, depth, units, proj, fused):
    with Graph().as_default():
        cell = LSTMCell(units, num_proj=proj, activation="tanh" if fused else np.arctan)
        x, c, h = make(cell, batch, depth)
        output, state = cell(x, (c, h))
    width = units if proj is None else proj
    assert (output.shape, state.c.shape) == ((batch, width), (batch, units))
    assert cell.state_size == (units, width)
    assert cell.output_size == width
    if fused:
        expected_c, expected_h = reference.step(reference_cell(cell), x, c, h)
        assert tolerances.error(state.c, expected_c) <= 1e-6
        assert tolerances.error(output, expected_h) <= 1e-6


def test_basic_and_full_cell_agree_bit_for_bit():
    basic, full = BasicLSTMCell(5), LSTMCell(5)
    x, c, h = make(basic)
    make(full)
    full.set_weights(basic.get_weights())
    np.testing.assert_array_equal(basic(x, (c, h))[0], full(x, (c, h))[0])


@pytest.mark.parametrize("activation", ["tanh", np.arctan])
def test_clip_limits(activation):
    def clipped(limit, h_seed=None):
        cell = LSTMCell(4, cell_clip=limit, activation=activation, name="n")
        x, c, h = make(cell)
        c[0, 0] = np.nan
        return cell(x, (c, h))[1].c

    free = clipped(None)
    finite = ~np.isnan(free)
    assert (clipped(-1)[finite] == 1).all(), "a negative limit makes every c its amount"
    assert (clipped(0)[finite] == 0).all()
    np.testing.assert_array_equal(clipped(True), clipped(1.0))
    assert np.isnan(clipped(np.nan)).all()
    for limit in (-1, 0, 0.5):
        assert np.isnan(clipped(limit)[0, 0]), "NaN stays NaN"


def test_proj_clip_without_projection_is_ignored():
    clipped, free = LSTMCell(4, proj_clip=1e-3), LSTMCell(4)
    x, c, h = make(clipped)
    make(free)
    np.testing.assert_array_equal(clipped(x, (c, h))[0], free(x, (c, h))[0])


def test_activation_callable_gets_whole_arrays_and_keeps_the_dtype():
    shapes = []

    def activation(values):
        shapes.append((type(values), values.shape, values.dtype))
        return np.tanh(values.astype(np.float64))

    slow, fast = LSTMCell(4, activation=activation), LSTMCell(4)
    x, c, h = make(slow)
    make(fast)
    shapes.clear()
    output, state = slow(x, (c, h))
    assert shapes == [(np.ndarray, (3, 4), np.float32)] * 2
    assert output.dtype == state.c.dtype == np.float32
    np.testing.assert_allclose(output, fast(x, (c, h))[0], atol=5e-7)
    with pytest.raises(InvalidArgumentError, match=r"\[3,4\] vs. \[4\]; the activation must"):
        bad = LSTMCell(4, activation=lambda values: values[0])
        bad.build(5)
        bad(x, (c, h))


class Wrapped:
    """Something that only has ``__array__``."""

    def __init__(self, array):
        self.array = array
        self.shape, self.dtype = array.shape, array.dtype

    def __array__(self, dtype=None, copy=None):
        return self.array


class Exported:
    """Something that only has ``__dlpack__``."""

    def __init__(self, array):
        self.array = array
        self.shape, self.dtype = array.shape, array.dtype

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def unaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize(
    "form",
    [
        np.asfortranarray,
        read_only,
        unaligned,
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: a[::-1].copy()[::-1],
        lambda a: a.astype(a.dtype.newbyteorder()),
        lambda a: a.view(np.recarray),
        Wrapped,
        Exported,
    ],
    ids=[
        "fortran",
        "read_only",
        "unaligned",
        "strided",
        "reversed",
        "swapped",
        "subclass",
        "array",
        "dlpack",
    ],
)
def test_any_array_gives_the_same_bits(form, which):
    cell = LSTMCell(4)
    arguments = list(make(cell))
    expected, _ = cell(arguments[0], tuple(arguments[1:]))
    arguments[which] = form(arguments[which])
    output, state = cell(arguments[0], tuple(arguments[1:]))
    np.testing.assert_array_equal(output, expected)
    assert type(output) is type(state.c) is np.ndarray


def test_state_containers():
    cell = LSTMCell(4)
    x, c, h = make(cell)
    expected, _ = cell(x, LSTMStateTuple(c, h))
    for state in ((c, h), [c, h], np.stack([c, h]), (c.astype(np.float64), h.astype(np.float64))):
        output, new_state = cell(x, state)
        np.testing.assert_array_equal(output, expected)
        assert isinstance(new_state, LSTMStateTuple)


@pytest.mark.parametrize("shape", [(1, 4), (3, 1), (4,), ()])
def test_only_c_broadcasts(shape):
    cell = LSTMCell(4, use_peepholes=True)
    x, _, h = make(cell)
    c = np.random.default_rng(8).normal(size=shape).astype(np.float32)
    expected, _ = cell(x, (np.ascontiguousarray(np.broadcast_to(c, (3, 4))), h))
    np.testing.assert_array_equal(cell(x, (c, h))[0], expected)


@pytest.mark.parametrize("cls", [BasicLSTMCell, LSTMCell])
def test_concatenated_state(cls, caplog):
    cell, pair = cls(4, state_is_tuple=False), cls(4)
    x, c, h = make(cell)
    make(pair)
    assert cell.state_size == 8
    assert cell.zero_state(2, np.float32).shape == (2, 8)
    output, state = cell(x, np.concatenate([c, h], axis=1))
    expected, expected_state = pair(x, (c, h))
    np.testing.assert_array_equal(output, expected)
    np.testing.assert_array_equal(state, np.concatenate(expected_state, axis=1))
    (record,) = caplog.records
    assert record.name == "lstmcore"
    assert (
        "Using a concatenated state is slower and will soon be deprecated.  Use" in record.message
    )


def test_concatenated_state_widths():
    full = LSTMCell(4, num_proj=2, state_is_tuple=False)
    basic = BasicLSTMCell(4, state_is_tuple=False)
    x, c, h = make(full)
    make(basic)
    wide = np.concatenate([c, h, c], axis=1)
    np.testing.assert_array_equal(full(x, wide)[0], full(x, wide[:, :6])[0])
    with pytest.raises(InvalidArgumentError, match=r"Expected size\[1\] in \[0, 1\], but got 2"):
        full(x, wide[:, :5])
    with pytest.raises(InvalidArgumentError, match=r"Expected size\[1\] in \[0, 3\], but got 4"):
        full(x, wide[:, :3])
    with pytest.raises(InvalidArgumentError, match=r"split_dim 1 \(size = 9\) and num_split 2"):
        basic(x, wide[:, :9])
    with pytest.raises(InvalidArgumentError, match=r"In\[0\]: \[3,8\], In\[1\]: \[9,16\]"):
        basic(x, wide[:, :6])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("is_tuple", [False, True])
def test_sequence_seam_equals_stepping(is_tuple, time_major, reverse):
    cell = LSTMCell(4, num_proj=3, use_peepholes=True, state_is_tuple=is_tuple)
    _, c, h = make(cell)
    rng = np.random.default_rng(4)
    x = rng.normal(size=(3, 6, 5)).astype(np.float32)
    lengths = np.array([6, 0, 4], np.int64)
    state = (c, h) if is_tuple else np.concatenate([c, h], axis=1)
    given = np.ascontiguousarray(x.swapaxes(0, 1)) if time_major else x
    assert cell._native_sequence
    y, final = cell._run_sequence(
        given, state, lengths, where=None, time_major=time_major, reverse=reverse
    )
    y = y.swapaxes(0, 1) if time_major else y
    expected = reference.forward(reference_cell(cell), x, c, h, lengths, reverse=reverse)
    assert tolerances.error(y, expected.y) <= 2e-6
    final = final if is_tuple else (final[:, :4], final[:, 4:])
    assert tolerances.error(final[0], expected.c) <= 2e-6
    assert tolerances.error(final[1], expected.h) <= 2e-6


def test_only_the_own_step_runs_natively():
    class Doubled(LSTMCell):
        def call(self, inputs, state):
            return super().call(2 * inputs, state)

    assert not Doubled(4)._native_sequence
    assert not LSTMCell(4, activation="softplus")._native_sequence
    assert LSTMCell(4, activation=np.tanh)._native_sequence
    doubled, plain = Doubled(4, name="d"), LSTMCell(4)
    x, c, h = make(doubled)
    make(plain)
    np.testing.assert_array_equal(doubled(x, (c, h))[0], plain(2 * x, (c, h))[0])
