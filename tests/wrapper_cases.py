"""What the tests of MultiRNNCell and the wrappers share."""

from __future__ import annotations

import numpy as np

import reference
import tolerances
from lstmcore.cells.rnn_cell import LSTMStateTuple, RNNCell
from rnn_cases import NOT_A_CELL as NOT_A_CELL

F32 = np.float32
N, T, WIDTH = 3, 5, 4
LIMIT = tolerances.AGAINST_REFERENCE["float32"]["sequence"]


def draw(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(F32)


def states(*widths):
    return tuple(
        LSTMStateTuple(draw(N, w, seed=k), draw(N, w, seed=k + 9)) for k, w in enumerate(widths)
    )


def exact(cell, **options):
    kernel, bias = (weight.numpy() for weight in cell.weights)
    return reference.Cell(kernel=kernel, bias=bias, **options)


class Doubler(RNNCell):
    """A cell of a user's own: no native sequence."""

    state_size = 4
    output_size = 4

    def call(self, inputs, state):
        return 2 * inputs + state, state + 1
