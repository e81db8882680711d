"""dynamic_rnn over cells without a native loop: padding, structures, aliasing."""

from __future__ import annotations

import numpy as np
import pytest

import reference
import tolerances
from lstmcore.cells.lstm_cells import LSTMCell
from lstmcore.cells.rnn_cell import RNNCell
from lstmcore.rnn.dynamic import (
    dynamic_rnn,
)
from lstmcore.tf import TensorShape
from lstmcore.variables.graph import global_variables
from lstmcore.variables.variable_scope import get_variable
from rnn_cases import F32, LIMITS, Accumulator, MyLSTM, X, draw, exact


@pytest.mark.parametrize("make", [lambda: LSTMCell(4), lambda: MyLSTM(4), lambda: Accumulator(3)])
def test_padding_never_leaks(make):
    cell = make()
    x, lengths = draw(4, 5, 3), [5, 0, 2, 4]
    clean, clean_state = dynamic_rnn(cell, x, lengths, dtype=F32)
    for row, length in enumerate(lengths):
        x[row, length:] = np.nan if row % 2 else np.inf
    outputs, state = dynamic_rnn(cell, x, lengths, dtype=F32)
    np.testing.assert_array_equal(outputs, clean)
    for leaf, wanted in zip(np.atleast_2d(state), np.atleast_2d(clean_state), strict=True):
        np.testing.assert_array_equal(leaf, wanted)
    for row, length in enumerate(lengths):
        assert not np.any(outputs[row, length:])
        assert not np.signbit(outputs[row, length:]).any()


def test_own_cell_runs_in_a_python_loop():
    cell = Accumulator(3)
    x, start = draw(3, 6, 3), draw(3, 3, seed=1)
    outputs, state = dynamic_rnn(cell, x, [4, 0, 2], start)
    wanted = start[:, None] + np.cumsum(x, axis=1)
    wanted[0, 4:] = wanted[1] = wanted[2, 2:] = 0
    np.testing.assert_allclose(outputs, wanted, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(state, [outputs[0, 3], start[1], outputs[2, 1]])
    assert cell.calls == 4  # steps past the longest row are not run


def test_own_step_of_a_subclass_is_respected():
    x = draw(2, 5, 3)
    outputs, _ = dynamic_rnn(cell := MyLSTM(4), x, dtype=F32)
    assert (
        tolerances.error(-outputs, reference.forward(exact(cell), x).y)
        <= LIMITS["float32"]["sequence"]
    )


def test_activation_without_kernel_takes_the_slow_path():
    x, lengths = draw(3, 5, 4), [5, 0, 3]
    cell = LSTMCell(6, activation="softplus", cell_clip=0.7)
    outputs, state = dynamic_rnn(cell, x, lengths, dtype=F32)
    wanted = reference.forward(
        exact(cell, activation="softplus", cell_clip=0.7), x, lengths=np.array(lengths)
    )
    assert tolerances.error(outputs, wanted.y) <= LIMITS["float32"]["sequence"]
    assert tolerances.error(state.c, wanted.c) <= LIMITS["float32"]["sequence"]


def test_own_cell_cannot_change_the_callers_arrays():
    class Greedy(Accumulator):
        def call(self, inputs, state):
            inputs += 1
            return inputs, state

    x = draw(2, 3, 4)
    before = x.copy()
    with pytest.raises(ValueError, match="read-only"):
        dynamic_rnn(Greedy(4), x, dtype=F32)
    np.testing.assert_array_equal(x, before)


def test_own_cell_may_reuse_one_buffer():
    class Buffered(Accumulator):
        buffer = np.zeros((2, 3), F32)

        def call(self, inputs, state):
            np.add(state, inputs, out=self.buffer)
            return self.buffer, self.buffer

    x = draw(2, 5, 3)
    outputs, _ = dynamic_rnn(Buffered(3), x, dtype=F32)
    np.testing.assert_allclose(outputs, np.cumsum(x, axis=1), rtol=1e-5, atol=1e-6)


def test_variables_made_in_call_are_found_again_at_the_next_step():
    class Scaled:
        """No RNNCell at all: the loop asks for a cell's attributes only."""

        state_size = output_size = 3

        def zero_state(self, batch_size, dtype):
            return np.zeros((batch_size, 3), dtype)

        def __call__(self, inputs, state):
            weight = get_variable("weight", [3], initializer="ones")
            return inputs * weight.numpy(), state + 1

    x = draw(2, 4, 3)
    np.testing.assert_array_equal(dynamic_rnn(Scaled(), x, dtype=F32)[0], x)
    assert [v.name for v in global_variables()] == ["rnn/weight:0"]


def test_nested_inputs_outputs_and_shapes():
    class Pair(RNNCell):
        state_size = (2, TensorShape([2, 3]))

        @property
        def output_size(self):
            return {"narrow": 2, "wide": TensorShape([2, 3])}

        def call(self, inputs, state):
            narrow, wide = state[0] + inputs[0], state[1] + inputs[1]
            return {"narrow": narrow, "wide": wide}, (narrow, wide)

    a, b = draw(3, 4, 2), draw(3, 4, 2, 3)
    outputs, state = dynamic_rnn(Pair(), (a, b), [4, 1, 0], dtype=F32)
    assert outputs["narrow"].shape == (3, 4, 2)
    assert outputs["wide"].shape == (3, 4, 2, 3)
    np.testing.assert_allclose(outputs["wide"][0], np.cumsum(b[0], axis=0), rtol=1e-5, atol=1e-6)
    assert not outputs["wide"][1, 1:].any()
    np.testing.assert_array_equal(state[1][1], b[1, 0])
    none, _ = dynamic_rnn(Pair(), (a[:, :0], b[:, :0]), dtype=F32)
    assert none["wide"].shape == (3, 0, 2, 3)


@pytest.mark.parametrize("lengths", [None, [2, 3]])
def test_own_cell_with_a_state_that_changes(lengths):
    class Growing(Accumulator):
        def call(self, inputs, state):
            return inputs, (state, state)

    class Shrinking(Accumulator):
        def call(self, inputs, state):
            return inputs, state[:1]

    with pytest.raises(
        ValueError, match=r"^The two structures don't have the same nested structure"
    ):
        dynamic_rnn(Growing(3), X, lengths, dtype=F32)
    with pytest.raises(ValueError, match=r"shape \(2, 3\), but has shape \(1, 3\) after one iter"):
        dynamic_rnn(Shrinking(3), X, lengths, dtype=F32)
