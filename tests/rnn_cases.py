"""What the tests of the unrolling functions share: arrays, cells of a user's own, exact results."""

from __future__ import annotations

import numpy as np

import reference
import tolerances
from lstmcore.cells.lstm_cells import LSTMCell
from lstmcore.cells.rnn_cell import RNNCell

F32 = np.float32
LIMITS = tolerances.AGAINST_REFERENCE
NOT_A_CELL = (
    "The argument {!r} (5) is not an RNNCell: 'output_size' property is missing, 'state_size' "
    "property is missing, either 'zero_state' or 'get_initial_state' method is required, "
    "is not callable."
)


def draw(*shape, seed=0, dtype=F32):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def exact(cell, **options):
    names = {"projection/kernel": "proj_kernel"}
    values = {}
    for weight in cell.weights:
        name = weight.name.removeprefix(cell.scope_name + "/").removesuffix(":0")
        values[names.get(name, name)] = weight.numpy()
    return reference.rounded(reference.Cell(**values, **options), weight.dtype)


def exact_both(cell_fw, cell_bw, x, lengths):
    return (
        reference.forward(exact(cell_fw), x, lengths=lengths),
        reference.forward(exact(cell_bw), x, lengths=lengths, reverse=True),
    )


class Accumulator(RNNCell):
    """A cell of a user's own, which returns the sum of its inputs so far and counts its calls."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self._width = width
        self.calls = 0

    @property
    def state_size(self):
        return self._width

    @property
    def output_size(self):
        return self._width

    def call(self, inputs, state):
        self.calls += 1
        total = state + inputs
        return total, total


class MyLSTM(LSTMCell):
    """A subclass that changes the step: it must not be run by the native loop."""

    def call(self, inputs, state):
        output, state = super().call(inputs, state)
        return -output, state


X = draw(2, 5, 3)
