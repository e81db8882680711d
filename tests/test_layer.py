"""What every layer has: names, weights, states of any structure, copies, threads."""

from __future__ import annotations

import copy
import pickle
import threading
import warnings

import numpy as np
import pytest

from lstmcore.cells.lstm_cells import BasicLSTMCell, LSTMCell
from lstmcore.cells.rnn_cell import LSTMStateTuple, RNNCell
from lstmcore.layers.layer import Layer


def built(cell, depth=3, dtype=np.float32):
    cell(np.ones((2, depth), dtype), cell.zero_state(2, dtype))
    return cell


def example(cell, seed=0, batch=5):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(batch, 3)).astype(cell.dtype)
    state = rng.normal(size=(2, batch, cell.output_size)).astype(cell.dtype)
    return inputs, LSTMStateTuple(state[0], state[1])


def test_unknown_keyword_is_named_alone():
    with pytest.raises(TypeError) as error:
        LSTMCell(4, foo=1, bar=2)
    assert error.value.args == ("Keyword argument not understood:", "foo")
    with pytest.raises(TypeError) as error:
        BasicLSTMCell(4, cell_clip=1.0)
    assert error.value.args == ("Keyword argument not understood:", "cell_clip")


def test_base_layer_keywords_are_accepted():
    cell = LSTMCell(
        4, autocast=True, dynamic=False, input_shape=(3,), batch_size=2, trainable=False
    )
    assert cell.trainable is False
    with pytest.raises(TypeError, match="`trainable` argument to be a boolean"):
        LSTMCell(4, trainable=3)


def test_name_has_no_setter():
    with pytest.raises(AttributeError):
        LSTMCell(4).name = "other"


def test_trainable_moves_all_weights_at_any_time():
    cell = built(LSTMCell(4))
    assert (len(cell.trainable_weights), len(cell.non_trainable_weights)) == (2, 0)
    cell.trainable = False
    assert (len(cell.trainable_weights), len(cell.non_trainable_weights)) == (0, 2)
    assert cell.variables == cell.weights
    frozen = built(LSTMCell(4, trainable=False))
    frozen.trainable = True
    assert frozen.trainable_variables == [], "made untrainable, its variables stay so"


def test_count_params():
    with pytest.raises(ValueError, match=r"the layer isn't built.*`q.build\(batch_input_shape\)`"):
        LSTMCell(4, name="q").count_params()
    assert built(LSTMCell(4, num_proj=2)).count_params() == (3 + 2) * 16 + 16 + 4 * 2


def test_set_weights_is_all_or_nothing():
    cell = built(LSTMCell(4, name="s"))
    before = cell.get_weights()
    with pytest.raises(ValueError, match="weight list of length 1, but the layer was expecting 2"):
        cell.set_weights(before[:1])
    with pytest.raises(
        ValueError, match=r"Layer s weight shape \(16,\) is not compatible with .* \(15,\)"
    ):
        cell.set_weights([before[0] + 1, before[1][:15]])
    for now, old in zip(cell.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, old)


def test_get_weights_gives_copies_that_set_weights_takes():
    cell = built(LSTMCell(4))
    inputs, state = example(cell)
    weights = [value * 0.5 + 0.25 for value in cell.get_weights()]
    cell.get_weights()[0][:] = 7
    before, _ = cell(inputs, state)
    cell.set_weights(weights)
    after, _ = cell(inputs, state)
    assert np.abs(before - after).max() > 1e-3
    np.testing.assert_array_equal(cell.get_weights()[1], weights[1])


def test_initial_weights_argument():
    weights = built(LSTMCell(4)).get_weights()
    cell = built(LSTMCell(4, weights=weights))
    np.testing.assert_array_equal(cell.get_weights()[0], weights[0])


def test_training_properties_are_empty_and_warn_as_tensorflow():
    cell = LSTMCell(4)
    assert cell.losses == []
    with pytest.warns(UserWarning, match="`layer.updates` will be removed"):
        assert cell.updates == []
    with pytest.warns(UserWarning, match="`layer.get_losses_for` is deprecated"):
        assert cell.get_losses_for(None) == []
    with pytest.warns(UserWarning, match="`layer.get_updates_for` is deprecated"):
        assert cell.get_updates_for(np.ones(3)) == []
    with pytest.warns(UserWarning, match="`Layer.graph` is deprecated"):
        assert cell.graph is None


def test_constructing_and_calling_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        built(LSTMCell(4))
        built(BasicLSTMCell(4))


def test_plain_layer_builds_once_and_gets_its_scope():
    class Scale(Layer):
        def build(self, input_shape):
            self.shape = input_shape
            self.factor = self.add_weight("factor", [input_shape[-1]], initializer="ones")
            super().build(input_shape)

        def call(self, inputs, scope=None):
            return inputs * self.factor.numpy(), scope.name

    layer = Scale()
    for _ in range(2):
        values, scope = layer.apply(np.full((2, 3), 2.0))
    np.testing.assert_array_equal(values, np.full((2, 3), 2.0))
    assert (scope, layer.shape, layer.dtype) == ("scale", (2, 3), "float64")
    assert [variable.name for variable in layer.weights] == ["scale/factor:0"]


def test_zero_state_follows_any_structure():
    class Nested(RNNCell):
        output_size = 1
        state_size = ({"b": 2, "a": 3}, [LSTMStateTuple(4, 5)])

    state = Nested().zero_state([6, 7], np.int32)
    assert isinstance(state[1], list)
    assert isinstance(state[1][0], LSTMStateTuple)
    assert state[0]["a"].shape == (6, 7, 3)
    assert (state[1][0].h.shape, state[1][0].h.dtype) == ((6, 7, 5), np.int32)
    assert not state[1][0].c.any()


def test_zero_state_is_fresh_every_time():
    cell = LSTMCell(4)
    first = cell.zero_state(2, np.float32)
    first.c[:] = 9
    assert not cell.zero_state(2, np.float32).c.any()


@pytest.mark.parametrize("batch", [2, np.int64(2), np.array(2), [2], np.array([2]), (2,)])
def test_zero_state_batch_sizes(batch):
    assert LSTMCell(4, num_proj=3).zero_state(batch, "float64").h.shape == (2, 3)


@pytest.mark.parametrize(
    ("batch", "dtype", "error", "message"),
    [
        (2.0, "float32", TypeError, "Dimension value must be integer or None or have an __index__"),
        (-1, "float32", ValueError, "Dimension -1 must be >= 0"),
        (None, "float32", ValueError, "Prefix or suffix can't be None. Received prefix = None"),
        ([[2]], "float32", TypeError, "Dimension value must be integer"),
        (np.array([[2]]), "float32", ValueError, "Prefix tensor must be either a scalar or vector"),
        (
            2,
            None,
            TypeError,
            "Cannot convert the argument `type_value`: None to a TensorFlow DType",
        ),
        (2, "floaty", TypeError, "Cannot convert the argument `type_value`: 'floaty'"),
    ],
)
def test_zero_state_errors(batch, dtype, error, message):
    with pytest.raises(error, match=message):
        LSTMCell(4).zero_state(batch, dtype)


def test_get_initial_state_from_inputs_or_arguments():
    cell = LSTMCell(4)
    inputs = np.ones((2, 3))
    assert cell.get_initial_state(inputs).dtype == np.float64
    assert cell.get_initial_state(inputs, batch_size=2, dtype="float64").c.shape == (2, 4)
    assert cell.get_initial_state(batch_size=3, dtype=np.float32).h.shape == (3, 4)
    with pytest.raises(ValueError, match="Input tensor batch: 2, batch_size: 5"):
        cell.get_initial_state(inputs, batch_size=5)
    with pytest.raises(ValueError, match="Input tensor dtype: <dtype: 'float64'>, dtype: float32"):
        cell.get_initial_state(inputs, dtype="float32")
    with pytest.raises(ValueError, match="cannot be None while constructing initial state"):
        cell.get_initial_state(batch_size=2)


def test_abstract_cell():
    cell = RNNCell()
    for name in ("state_size", "output_size"):
        with pytest.raises(NotImplementedError, match="Abstract method"):
            getattr(cell, name)


def test_state_tuple():
    state = LSTMStateTuple(np.ones(2, np.float32), np.ones(2))
    with pytest.raises(
        TypeError, match="Inconsistent dtypes for internal state: float32 vs float64"
    ):
        _ = state.dtype
    assert LSTMStateTuple(1, 2) == (1, 2)
    assert repr(LSTMStateTuple(c=1, h=2)) == "LSTMStateTuple(c=1, h=2)"
    with pytest.raises(AttributeError, match="'int' object has no attribute 'dtype'"):
        _ = LSTMStateTuple(1, 2).dtype
    assert not hasattr(state, "__dict__")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda cell: pickle.loads(pickle.dumps(cell))])
def test_copies_compute_the_same_and_are_independent(copied):
    cell = built(LSTMCell(3, use_peepholes=True, cell_clip=0.4, num_unit_shards=2, name="orig"))
    inputs, state = example(cell)
    expected, _ = cell(inputs, state)
    twin = copied(cell)
    np.testing.assert_array_equal(twin(inputs, state)[0], expected)
    assert [v.name for v in twin.weights] == [v.name for v in cell.weights]
    assert (twin.scope_name, twin.get_config()) == ("orig", cell.get_config())
    twin.weights[0].assign(np.full(12, 2.0))
    assert np.abs(twin(inputs, state)[0] - expected).max() > 1e-3
    np.testing.assert_array_equal(cell(inputs, state)[0], expected)


def test_unbuilt_cells_copy_and_other_pickle_formats_are_refused():
    cell = pickle.loads(pickle.dumps(LSTMCell(4, activation="relu", name="u")))
    assert built(cell).scope_name == "u"
    state = cell.__getstate__()
    state["_pickle_version"] = 99
    with pytest.raises(ValueError, match="pickled in format 99"):
        LSTMCell.__new__(LSTMCell).__setstate__(state)


def test_threads_share_a_built_cell():
    cell = built(LSTMCell(17, num_proj=5))
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(40, 2, 3)).astype(np.float32)

    def run():
        state = LSTMStateTuple(np.full((2, 17), 0.3, np.float32), np.full((2, 5), -0.2, np.float32))
        for x in inputs:
            _, state = cell(x, state)
        return state.h

    expected = run()
    cell.weights[0].assign(cell.weights[0].numpy())  # every thread finds the packed weights gone
    results = [None] * 4

    def work(index):
        results[index] = run()

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_array_equal(result, expected)
