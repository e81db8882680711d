"""Graphs hold, find and release variables."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import numpy as np
import pytest

from lstmcore.cells.lstm_cells import LSTMCell
from lstmcore.variables.graph import (
    Graph,
    get_default_graph,
    global_variables,
    reset_default_graph,
    trainable_variables,
)
from lstmcore.variables.variable_scope import get_variable_scope, variable_scope


def run(cell, depth=3, scope=None):
    """Calls the cell once and returns the scope of its variables."""
    inputs = np.full((2, depth), 0.5, np.float32)
    cell(inputs, cell.zero_state(2, np.float32), scope=scope)
    return cell.scope_name


def test_graphs_are_separate_and_reset_needs_none_open(graph):
    run(LSTMCell(4))
    with Graph().as_default() as other:
        assert get_default_graph() is other
        assert run(LSTMCell(4)) == "lstm_cell"
        assert len(trainable_variables()) == 2
    assert get_default_graph() is graph
    with pytest.raises(AssertionError, match="clear nested graphs"):
        reset_default_graph()


def test_reset_default_graph_drops_variables():
    def in_fresh_thread():
        cell = LSTMCell(4)
        results.append(run(cell))
        variable = weakref.ref(cell.weights[0])
        reset_default_graph()
        results.append(len(global_variables()))
        results.append(run(LSTMCell(4)))
        del cell
        gc.collect()
        results.append(variable())

    results: list[object] = []
    thread = threading.Thread(target=in_fresh_thread)
    thread.start()
    thread.join()
    assert results == ["lstm_cell", 0, "lstm_cell", None]


def test_collections_of_a_scope():
    with variable_scope("a") as scope:
        run(LSTMCell(4))
        run(LSTMCell(5, trainable=False))
    run(LSTMCell(6, name="ab"))
    assert [variable.shape for variable in scope.global_variables()] == [
        (7, 16),
        (16,),
        (8, 20),
        (20,),
    ]
    assert len(scope.trainable_variables()) == 2
    assert len(global_variables("ab/")) == 2


def test_numbered_cells_are_released_and_cost_the_same():
    """Days of making and dropping cells: nothing may grow, neither memory nor the time per cell."""

    def make(count):
        start = time.perf_counter()
        for _ in range(count):
            run(LSTMCell(2, name="n"))
        return time.perf_counter() - start

    first = LSTMCell(2, name="n")
    run(first)
    make(50)
    gc.collect()
    names = get_default_graph().scopes.names
    before = len(gc.get_objects()), len(global_variables())
    early = make(150)
    make(1200)
    late = make(150)
    gc.collect()
    assert len(global_variables()) == before[1] == 2
    assert len(gc.get_objects()) - before[0] < 100
    assert late < 5 * early
    assert names.unique("", "n") == "n_1551"


@pytest.mark.parametrize("name", ["m", ""])
def test_dropped_cells_still_share_when_their_scope_comes_again(name):
    kernels = []
    for reuse in (None, True):
        with variable_scope(name or get_variable_scope(), reuse=reuse):
            for _ in range(2):
                cell = LSTMCell(4)
                run(cell)
                kernels.append(cell.get_weights()[0])
                del cell
                gc.collect()
    assert not np.array_equal(kernels[0], kernels[1])
    np.testing.assert_array_equal(kernels[2:], kernels[:2])
