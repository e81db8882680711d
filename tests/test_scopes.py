"""Names and sharing of variables: graph mode's rules, as TensorFlow 2.15 and 1.15 show them."""

from __future__ import annotations

import numpy as np
import pytest

from lstmcore.cells.lstm_cells import BasicLSTMCell, LSTMCell
from lstmcore.cells.rnn_cell import RNNCell
from lstmcore.variables.graph import (
    Graph,
    global_variables,
)
from lstmcore.variables.variable_scope import (
    AUTO_REUSE,
    get_variable,
    get_variable_scope,
    variable_scope,
)
from lstmcore.variables.variable_store import fixed_size_partitioner


def run(cell, depth=3, scope=None):
    """Calls the cell once and returns the scope of its variables."""
    inputs = np.full((2, depth), 0.5, np.float32)
    cell(inputs, cell.zero_state(2, np.float32), scope=scope)
    return cell.scope_name


def test_default_names_and_scopes_differ():
    cells = [LSTMCell(4), LSTMCell(4), BasicLSTMCell(4)]
    assert [cell.name for cell in cells] == ["lstm_cell_1", "lstm_cell_2", "basic_lstm_cell_1"]
    assert [run(cell) for cell in cells] == ["lstm_cell", "lstm_cell_1", "basic_lstm_cell"]
    assert [variable.name for variable in cells[1].weights] == [
        "lstm_cell_1/kernel:0",
        "lstm_cell_1/bias:0",
    ]
    assert cells[0].weights[0].op.name == "lstm_cell/kernel"


def test_scope_name_is_unknown_before_the_first_call():
    with pytest.raises(ValueError, match=r'layer "q" has not been used yet\. The scope name  is'):
        _ = LSTMCell(4, name="q").scope_name


def test_first_call_fixes_the_scope():
    cell = LSTMCell(4)
    with variable_scope("first"):
        assert run(cell) == "first/lstm_cell"
    with variable_scope("second"):
        assert run(cell, scope="third") == "first/lstm_cell"
    assert len(global_variables()) == 2


def test_explicit_scope_is_taken_verbatim_and_only_once():
    assert run(LSTMCell(4), scope="sc") == "sc"
    with pytest.raises(ValueError, match="Variable sc/kernel already exists, disallowed"):
        run(LSTMCell(4), scope="sc")


def test_equal_names_without_reuse_get_a_number():
    cells = [LSTMCell(4, name="a/b") for _ in range(3)]
    assert [run(cell) for cell in cells] == ["a/b", "a/b_1", "a/b_2"]
    assert run(LSTMCell(4, name="a")) == "a"


def test_reuse_shares_and_requires_the_variable():
    with pytest.raises(ValueError, match="Variable new/kernel does not exist, or was not created"):
        run(LSTMCell(4, name="new", reuse=True))
    first, second = LSTMCell(4, name="n"), LSTMCell(4, name="n", reuse=True)
    run(first)
    run(second)
    assert second.weights[0] is first.weights[0]
    with pytest.raises(ValueError, match=r"specified shape \(8, 20\) and found shape \(7, 16\)"):
        run(LSTMCell(5, name="n", reuse=True))
    wide = LSTMCell(4, name="n", reuse=True, dtype="float64")
    with pytest.raises(ValueError, match="specified dtype float64 and found dtype float32"):
        wide(np.ones((2, 3)), wide.zero_state(2, np.float64))
    with pytest.raises(ValueError, match="reuse parameter must be"):
        LSTMCell(4, reuse="yes")


def test_auto_reuse_creates_or_shares():
    cells = [LSTMCell(4, name="n", reuse=AUTO_REUSE) for _ in range(2)]
    assert [run(cell) for cell in cells] == ["n", "n"]
    assert cells[0].weights[1] is cells[1].weights[1]


def test_reentered_scope_starts_its_names_again():
    with variable_scope("root"):
        first, second = LSTMCell(4), LSTMCell(4)
        assert [run(first), run(second)] == ["root/lstm_cell", "root/lstm_cell_1"]
    with (
        pytest.raises(ValueError, match="Variable root/lstm_cell/kernel already exists"),
        variable_scope("root"),
    ):
        run(LSTMCell(4))
    with variable_scope("root", reuse=True):
        again = [LSTMCell(4), LSTMCell(4)]
        assert [run(cell) for cell in again] == ["root/lstm_cell", "root/lstm_cell_1"]
    assert again[1].weights[0] is second.weights[0]


def test_a_call_counts_as_opening_its_scope():
    with variable_scope("root"):
        first = LSTMCell(4)
        run(first)
    with variable_scope("root"):
        run(first)
        assert run(LSTMCell(4)) == "root/lstm_cell_1"


def test_captured_scope_restores_the_names_seen_before():
    with variable_scope("a") as captured:
        run(LSTMCell(4))
        with variable_scope(captured):
            inner = LSTMCell(4)
            assert run(inner) == "a/lstm_cell_1"
        with pytest.raises(ValueError, match="Variable a/lstm_cell_1/kernel already exists"):
            run(LSTMCell(4))


def test_default_names_of_nested_scopes():
    names = []
    with variable_scope("a"):
        for default in ("q", "q", "q_1", "q"):
            with variable_scope(None, default_name=default):
                names.append(run(BasicLSTMCell(4)))
    assert names == [f"a/{q}/basic_lstm_cell" for q in ("q", "q_1", "q_1_1", "q_2")]


def test_explicit_names_are_skipped_by_default_names():
    with variable_scope("lstm_cell_1"):
        pass
    assert [run(LSTMCell(4)) for _ in range(3)] == ["lstm_cell", "lstm_cell_2", "lstm_cell_3"]


def test_tower_idiom_shares_at_the_root():
    for tower in range(2):
        with variable_scope(get_variable_scope(), reuse=tower > 0):
            scopes = [run(LSTMCell(4)), run(LSTMCell(4))]
            assert scopes == ["lstm_cell", "lstm_cell_1"]
    assert len(global_variables()) == 4


def test_scope_defaults_reach_the_cells():
    def frozen(getter, name, *args, **kwargs):
        kwargs["trainable"] = False
        return getter(name, *args, **kwargs)

    with variable_scope("p", initializer="ones", custom_getter=frozen):
        cell = LSTMCell(4)
        run(cell)
    assert cell.trainable_weights == []
    assert len(cell.non_trainable_weights) == 2
    kernel, bias = cell.get_weights()
    assert (kernel == 1).all()
    assert (bias == 0).all(), "a scope's initializer does not reach the bias"


def test_nested_custom_getters_run_inside_out():
    calls = []

    def outer(getter, *args, **kwargs):
        calls.append(("outer", kwargs["name"]))
        return getter(*args, **kwargs)

    def inner(getter, *args, **kwargs):
        calls.append(("inner", kwargs["name"]))
        return getter(*args, **kwargs)

    with variable_scope("a", custom_getter=outer), variable_scope("b", custom_getter=inner):
        get_variable("w", [2])
    assert calls == [("inner", "a/b/w"), ("outer", "a/b/w")]


def test_scope_partitioner_shards_every_variable():
    with variable_scope("p", partitioner=fixed_size_partitioner(2)):
        cell = LSTMCell(4, use_peepholes=True)
        run(cell)
    shapes = {variable.op.name: variable.shape for variable in cell.weights}
    assert shapes["p/lstm_cell/kernel/part_0"] == (4, 16)
    assert shapes["p/lstm_cell/kernel/part_1"] == (3, 16)
    assert shapes["p/lstm_cell/w_o_diag/part_1"] == (2,)
    assert len(shapes) == 10


def test_get_variable_messages():
    with variable_scope("s", dtype="float64"):
        assert get_variable("w", [2, 3]).dtype == np.float64
        with pytest.raises(ValueError, match="Variable s/w already exists, disallowed"):
            get_variable("w", [2, 3])
        with pytest.raises(ValueError, match="did not get an initializer"):
            get_variable("q")
        with pytest.raises(ValueError, match="do not specify shape"):
            get_variable("k", [2], initializer=np.ones(2))
        with pytest.raises(ValueError, match="don't match"):
            get_variable("f", initializer=np.ones(3), dtype="float32")
        np.testing.assert_array_equal(get_variable("k", initializer=np.arange(2.0)), [0, 1])
        with pytest.raises(ValueError, match="must be >= 0"):
            get_variable("n", [-2])
    with pytest.raises(TypeError, match="default_name is None"):
        variable_scope(None)
    with pytest.raises(TypeError, match="must be a string or VariableScope"):
        variable_scope(3)
    with pytest.raises(ValueError, match="cannot be used without a name_or_scope"):
        variable_scope(None, "a", reuse=True)


def test_user_cell_owns_the_variables_of_its_call():
    class Scaled(RNNCell):
        state_size = output_size = 4

        def call(self, inputs, state, scope=None):
            assert scope.name == self.scope_name
            weight = get_variable("w", [3, 4], initializer="ones")
            return inputs @ weight.numpy(), state

    cell = Scaled()
    inputs = np.full((2, 3), 0.5, np.float32)
    for _ in range(2):
        output, _ = cell(inputs, cell.zero_state(2, np.float32))
    np.testing.assert_array_equal(output, np.full((2, 4), 1.5))
    assert [variable.name for variable in cell.weights] == ["scaled/w:0"]
    assert (cell.name, cell.scope_name) == ("scaled_1", "scaled")


def test_a_cell_called_in_another_graph_takes_no_name_there():
    first, second = Graph(), Graph()
    x = np.ones((1, 3), np.float32)
    with first.as_default():
        cell = BasicLSTMCell(4)
        _, state = cell(x, cell.zero_state(1, np.float32))
        name = cell.variables[0].name
    with second.as_default():
        for _ in range(3):  # the later ones are known to need none
            cell(x, state)
        other = BasicLSTMCell(4)
        other(x, state)
        assert other.variables[0].name == name
    with first.as_default():
        cell(x, state)
        other = BasicLSTMCell(4)
        other(x, state)
        assert other.variables[0].name == name.replace("cell/", "cell_1/")
