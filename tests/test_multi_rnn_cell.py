"""MultiRNNCell: results, names, sharing, states, and the native path's agreement."""

from __future__ import annotations

import copy
import logging
import pickle

import numpy as np
import pytest

import reference
import tolerances
from lstmcore import _core
from lstmcore.cells.dropout_wrapper import DropoutWrapper
from lstmcore.cells.lstm_cells import BasicLSTMCell, LSTMCell
from lstmcore.cells.multi_rnn_cell import MultiRNNCell
from lstmcore.cells.wrappers import ResidualWrapper
from lstmcore.errors import InvalidArgumentError
from lstmcore.rnn.dynamic import dynamic_rnn
from lstmcore.variables.graph import global_variables
from wrapper_cases import F32, LIMIT, NOT_A_CELL, WIDTH, Doubler, N, T, draw, exact, states


def test_multi_step_and_names():
    cells = [LSTMCell(6), BasicLSTMCell(5, forget_bias=0.2), LSTMCell(2, name="top")]
    multi = MultiRNNCell(cells)
    x, state = draw(N, WIDTH), states(6, 5, 2)
    output, new_state = multi(x, list(state))
    assert isinstance(new_state, tuple)
    layer_input = x
    for cell, old, new, bias in zip(cells, state, new_state, (1.0, 0.2, 1.0), strict=True):
        c, h = reference.step(
            reference.rounded(exact(cell, forget_bias=bias), F32), layer_input, *old
        )
        assert tolerances.error(new.c, c) <= LIMIT
        assert tolerances.error(new.h, h) <= LIMIT
        layer_input = new.h
    np.testing.assert_array_equal(output, new_state[-1].h)
    assert [w.name for w in multi.weights] == [
        f"multi_rnn_cell/cell_{scope}/{name}:0"
        for scope in ("0/lstm_cell", "1/basic_lstm_cell", "2/top")
        for name in ("kernel", "bias")
    ]
    assert multi.state_size == ((6, 6), (5, 5), (2, 2))
    assert multi.output_size == 2
    assert multi.dtype == "float32"


def test_multi_sequence_is_one_native_call_per_layer(monkeypatch):
    multi = MultiRNNCell(
        [LSTMCell(6), DropoutWrapper(LSTMCell(3, num_proj=2), output_keep_prob=0.5)]
    )
    x, lengths = draw(N, T, WIDTH), [5, 0, 2]
    outputs, state = dynamic_rnn(multi, x, lengths, dtype=F32)
    calls = []
    native = _core.Lstm

    def counted(name):
        def call(self, *args, **kwargs):
            calls.append(name)
            return getattr(native, name)(self._lstm, *args, **kwargs)

        return call

    class Counting:
        forward, step, cell_step = counted("forward"), counted("step"), counted("cell_step")

        def __init__(self, *args, **kwargs):
            self._lstm = native(*args, **kwargs)

    monkeypatch.setattr(_core, "Lstm", Counting)
    for layer in (multi._cells[0], multi._cells[1].cell):
        layer.set_weights(layer.get_weights())  # drops the packed weights
    again, _ = dynamic_rnn(multi, x, lengths, dtype=F32)
    assert calls == ["forward", "forward"]
    np.testing.assert_array_equal(again, outputs)
    step_state = multi.zero_state(N, F32)
    for t in range(T):
        output, step_state = multi(x[:, t], step_state)
        live = np.array(lengths) > t
        np.testing.assert_array_equal(outputs[live, t], output[live])
        assert not outputs[~live, t].any()
    assert state[1].h.shape == (N, 2)


def test_multi_of_concatenated_states():
    multi = MultiRNNCell(
        [LSTMCell(4, state_is_tuple=False), LSTMCell(3, state_is_tuple=False)], state_is_tuple=False
    )
    assert multi.state_size == 14
    x, state = draw(N, WIDTH), draw(N, 14)
    output, new_state = multi(x, state)
    c, h = reference.step(exact(multi._cells[0]), x, state[:, :4], state[:, 4:8])
    top_c, top_h = reference.step(exact(multi._cells[1]), h, state[:, 8:11], state[:, 11:])
    assert tolerances.error(new_state, np.concatenate([c, h, top_c, top_h], 1)) <= LIMIT
    np.testing.assert_array_equal(new_state[:, 11:], output)
    np.testing.assert_array_equal(multi(x, np.c_[state, state])[1], new_state)
    with pytest.raises(InvalidArgumentError, match=r"^Expected size\[1\] in \[0, 5\], but got 6"):
        multi(x, state[:, :13])
    with pytest.raises(InvalidArgumentError, match=r"^Expected begin and size arguments"):
        multi(x, state[0])


def test_multi_with_one_object_twice_shares_and_says_so(caplog):
    cell = LSTMCell(WIDTH)
    with caplog.at_level(logging.WARNING, "lstmcore"):
        multi = MultiRNNCell([cell, cell])
    assert [record.message for record in caplog.records] == [
        "At least two cells provided to MultiRNNCell are the same object and will share weights."
    ]
    multi(draw(N, WIDTH), states(WIDTH, WIDTH))
    assert multi.weights == cell.weights * 2


@pytest.mark.parametrize(
    ("cells", "error", "text"),
    [
        ([], ValueError, "Must specify at least one cell for MultiRNNCell."),
        (None, ValueError, "Must specify at least one cell for MultiRNNCell."),
        (5, TypeError, "cells must be a list or tuple, but received: 5."),
        ("ab", TypeError, "cells must be a list or tuple, but received: ab."),
        ([5], TypeError, NOT_A_CELL.format("cells[0]")),
    ],
)
def test_multi_refuses_cells(cells, error, text):
    with pytest.raises(error) as raised:
        MultiRNNCell(cells)
    assert str(raised.value) == text


def test_multi_refuses_tuples_without_the_flag():
    with pytest.raises(ValueError) as raised:
        MultiRNNCell([LSTMCell(4), LSTMCell(3)], state_is_tuple=False)
    assert str(raised.value) == (
        "Some cells return tuples of states, but the flag state_is_tuple is not set. State sizes "
        "are: [LSTMStateTuple(c=4, h=4), LSTMStateTuple(c=3, h=3)]"
    )


def test_multi_refuses_states():
    multi = MultiRNNCell([LSTMCell(4), LSTMCell(3)])
    with pytest.raises(
        ValueError, match=r"^Expected state to be a tuple of length 2, but received"
    ):
        multi(draw(N, WIDTH), draw(N, 4))
    with pytest.raises(IndexError, match=r"^tuple index out of range"):
        multi(draw(N, WIDTH), states(4))
    with pytest.raises(InvalidArgumentError, match="Matrix size-incompatible"):
        dynamic_rnn(multi, draw(N, T, WIDTH), initial_state=states(4, 2), scope="elsewhere")
    # none of this stands in the way of building the upper cell now
    assert multi(draw(N, WIDTH), states(4, 3))[0].shape == (N, 3)


def test_multi_zero_state_and_config():
    multi = MultiRNNCell([LSTMCell(4), LSTMCell(3, num_proj=2)])
    zero = multi.zero_state(N, "float64")
    assert [leaf.shape for state in zero for leaf in state] == [(N, 4), (N, 4), (N, 3), (N, 2)]
    assert zero[1].h.dtype == np.float64
    assert list(multi.get_config()) == ["name", "trainable", "dtype"]


def test_multi_trainable_flag_moves_the_weights():
    multi = MultiRNNCell([LSTMCell(4), LSTMCell(3, trainable=False)])
    multi(draw(N, WIDTH), states(4, 3))
    assert len(multi.trainable_weights) == 2
    assert len(multi.non_trainable_weights) == 2
    multi.trainable = False
    assert multi.trainable_weights == []
    assert len(multi.non_trainable_weights) == 4


def test_nested_multi_repeats_the_scope():
    multi = MultiRNNCell([LSTMCell(4), MultiRNNCell([LSTMCell(3)])])
    dynamic_rnn(multi, draw(N, T, WIDTH), dtype=F32)
    assert [v.name for v in global_variables()][2] == (
        "rnn/multi_rnn_cell/cell_1/multi_rnn_cell/cell_0/lstm_cell/kernel:0"
    )


def test_multi_with_a_cell_of_ones_own_runs_step_by_step():
    multi = MultiRNNCell([Doubler(), LSTMCell(3)])
    x = draw(N, T, WIDTH)
    outputs, state = dynamic_rnn(multi, x, [5, 0, 2], dtype=F32)
    below = 2 * x + np.arange(T, dtype=F32)[None, :, None]
    wanted = reference.forward(exact(multi._cells[1]), below, lengths=np.array([5, 0, 2]))
    assert tolerances.error(outputs, wanted.y) <= LIMIT
    np.testing.assert_array_equal(state[0], np.repeat([[5.0], [0], [2]], 4, axis=1))


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent(copier):
    multi = MultiRNNCell([ResidualWrapper(LSTMCell(WIDTH)), DropoutWrapper(LSTMCell(3))])
    x, state = draw(N, WIDTH), states(WIDTH, 3)
    expected = multi(x, state)[0]
    twin = copier(multi)
    np.testing.assert_array_equal(twin(x, state)[0], expected)
    twin._cells[0].cell.weights[1].assign(draw(4 * WIDTH))
    assert np.abs(twin(x, state)[0] - expected).max() > 1e-3
    np.testing.assert_array_equal(multi(x, state)[0], expected)


def test_subclass_with_its_own_call_is_not_bypassed():
    class Negated(MultiRNNCell):
        def call(self, inputs, state):
            output, state = super().call(inputs, state)
            return -output, state

    class NegatedResidual(ResidualWrapper):
        def __call__(self, inputs, state, scope=None):
            output, state = super().__call__(inputs, state, scope)
            return -output, state

    x = draw(N, T, WIDTH)
    for negated, plain in (
        (Negated([LSTMCell(WIDTH)]), MultiRNNCell),
        (NegatedResidual(LSTMCell(WIDTH)), ResidualWrapper),
    ):
        outputs, _ = dynamic_rnn(negated, x, dtype=F32, scope=plain.__name__)
        inner = negated._cells if plain is MultiRNNCell else negated.cell
        np.testing.assert_array_equal(dynamic_rnn(plain(inner), x, dtype=F32)[0], -outputs)


def test_build_leaves_it_to_the_first_call():
    multi = MultiRNNCell([LSTMCell(4), LSTMCell(3)])
    multi.build((None, WIDTH))
    assert multi(draw(N, WIDTH), states(4, 3))[0].shape == (N, 3)
    assert multi(draw(N, WIDTH), states(4, 3))[1][0].c.shape == (N, 4)
    assert len(multi.weights) == 4
