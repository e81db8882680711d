"""lstmcore.tf: TensorFlow 1 source runs with only its import line changed."""

from __future__ import annotations

import importlib
import inspect

import numpy as np
import pytest

import lstmcore
import lstmcore.tf as tf
import reference
import tolerances
from lstmcore import tf as tf_by_from
from lstmcore.cells import lstm_cells
from lstmcore.rnn import dynamic as rnn


@pytest.fixture(autouse=True)
def _own_graph():
    with tf.Graph().as_default():
        yield


def test_example_of_the_basic_lstm_cell_page():
    lstm = tf.contrib.rnn.BasicLSTMCell(num_units=128)
    state = lstm.zero_state(10, tf.float32)
    inputs = tf.random_normal([10, 300])
    output, (new_c, new_h) = lstm(inputs, state)
    assert output.shape == new_c.shape == (10, 128)
    assert output.dtype == tf.float32
    np.testing.assert_array_equal(output, new_h)
    called, _ = lstm.call(inputs, state)
    np.testing.assert_array_equal(called, output)
    kernel, bias = (variable.numpy() for variable in tf.global_variables())
    c, h = reference.step(reference.Cell(kernel=kernel, bias=bias), inputs, *state)
    limit = tolerances.AGAINST_REFERENCE["float32"]["step"]
    assert tolerances.error(new_c, c) <= limit
    assert tolerances.error(output, h) <= limit


SOURCE = """
{import_line}

tf.compat.v1.disable_eager_execution()
tf.reset_default_graph()
tf.set_random_seed(7)
num_hidden, num_layers, num_classes = 24, 2, 5

def make_cell(size):
    cell = tf.nn.rnn_cell.LSTMCell(
        size, use_peepholes=True, initializer=tf.random_uniform_initializer(-0.3, 0.3, seed=1),
        activation=tf.nn.relu)
    return tf.nn.rnn_cell.DropoutWrapper(cell, output_keep_prob=1.0)

with tf.device("/cpu:0"), tf.name_scope("batch"):
    batch = tf.constant([[[0.5, -1.0, 0.25]] * 4, [[1.5, 0.1, -0.25]] * 4])
    lengths = tf.constant([4, 2])

with tf.variable_scope("model", reuse=tf.AUTO_REUSE):
    stack = tf.contrib.rnn.MultiRNNCell([make_cell(num_hidden) for _ in range(num_layers)])
    initial = stack.zero_state(tf.shape(batch)[0], tf.float32)
    outputs, state = tf.nn.dynamic_rnn(stack, batch, lengths, initial_state=initial)
    w = tf.get_variable("w", [num_hidden, num_classes], initializer=tf.glorot_uniform_initializer())
    b = tf.get_variable("b", [num_classes], initializer=tf.zeros_initializer())

last = tf.gather(tf.reshape(outputs, [-1, num_hidden]), tf.range(2) * 4 + lengths - 1)
logits = tf.nn.softmax(tf.nn.xw_plus_b(last, w, b))
choice = tf.argmax(logits, 1)
names = [v.name for v in tf.trainable_variables()]
"""


@pytest.mark.parametrize(
    "import_line",
    ["from lstmcore import tf", "import lstmcore.tf as tf", "import lstmcore.tf.compat.v1 as tf"],
)
def test_a_model_in_tf1_source(import_line):
    if import_line.endswith("v1 as tf"):
        source = SOURCE.replace("tf.compat.v1.disable", "tf.disable")
    else:
        source = SOURCE
    # reset_default_graph must not be called inside as_default, so this runs on a thread of its own
    names: dict = {}
    _in_thread(lambda: exec(source.format(import_line=import_line), names))
    assert names["outputs"].shape == (2, 4, 24)
    assert names["outputs"].dtype == np.float32
    assert not names["outputs"][1, 2:].any()
    np.testing.assert_array_equal(names["last"], names["state"][-1].h)
    np.testing.assert_allclose(names["logits"].sum(1), 1, rtol=1e-6)
    assert names["choice"].shape == (2,)
    scope = "model/rnn/multi_rnn_cell/cell_{}/lstm_cell/{}:0"
    parts = ("kernel", "bias", "w_f_diag", "w_i_diag", "w_o_diag")
    assert names["names"] == [scope.format(k, part) for k in (0, 1) for part in parts] + [
        "model/w:0",
        "model/b:0",
    ]
    for cell in names["stack"]._cells:
        assert cell.cell._activation.fused == "relu"


def _in_thread(function):
    import threading

    errors = []

    def run():
        try:
            function()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def test_the_same_objects_under_every_name():
    assert tf_by_from is tf is lstmcore.tf
    for name in ("BasicLSTMCell", "LSTMCell", "MultiRNNCell", "LSTMStateTuple", "RNNCell"):
        cells = {getattr(place, name) for place in (tf.nn.rnn_cell, tf.contrib.rnn)}
        assert cells == {getattr(tf.compat.v1.nn.rnn_cell, name)}
    assert tf.nn.rnn_cell.LSTMCell is lstm_cells.LSTMCell
    assert tf.compat.v1.nn.dynamic_rnn is rnn.dynamic_rnn
    assert tf.contrib.cudnn_rnn.CudnnCompatibleLSTMCell is lstmcore.CudnnCompatibleLSTMCell
    assert tf.errors.InvalidArgumentError is lstmcore.InvalidArgumentError
    assert tf.raw_ops.BlockLSTM is lstmcore.raw_ops.BlockLSTM
    assert set(dir(tf.compat.v1)) >= {"nn", "contrib", "get_variable", "placeholder", "float32"}
    # `from tensorflow.contrib import rnn` is how much TF1 code starts
    assert importlib.import_module("lstmcore.tf.contrib.rnn") is tf.contrib.rnn


def test_signatures_are_tensorflows():
    assert str(inspect.signature(tf.nn.rnn_cell.MultiRNNCell)) == (
        "(cells: 'Any', state_is_tuple: 'bool' = True) -> 'None'"
    )
    order = list(inspect.signature(tf.contrib.rnn.stack_bidirectional_dynamic_rnn).parameters)
    assert order == [
        "cells_fw",
        "cells_bw",
        "inputs",
        "initial_states_fw",
        "initial_states_bw",
        "dtype",
        "sequence_length",
        "parallel_iterations",
        "time_major",
        "scope",
        "swap_memory",
    ]
    order = list(inspect.signature(tf.nn.dynamic_rnn).parameters)
    assert order == [
        "cell",
        "inputs",
        "sequence_length",
        "initial_state",
        "dtype",
        "parallel_iterations",
        "swap_memory",
        "time_major",
        "scope",
    ]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: tf.placeholder(tf.float32, [None, 3]),
            "tf.placeholder does not exist in lstmcore",
        ),
        (lambda: tf.compat.v1.Session(), "tf.Session does not exist in lstmcore"),
        (lambda: tf.InteractiveSession(), "tf.InteractiveSession does not exist in lstmcore"),
        (lambda: tf.train.Saver(), "lstmcore.restore(checkpoint, cells, scope)"),
        (lambda: tf.global_variables_initializer(), "remove the call"),
        (lambda: tf.gradients(1, 2), "computes no gradients"),
    ],
)
def test_what_needs_a_session_says_what_to_do(call, text):
    with pytest.raises(NotImplementedError) as raised:
        call()
    assert text in str(raised.value)
    assert "computes at once on NumPy arrays" in str(raised.value)


def test_unknown_names():
    for namespace in (tf, tf.compat.v1):
        with pytest.raises(AttributeError, match=r"lstmcore.tf has no 'einsum'.*Use NumPy"):
            _ = namespace.einsum
        assert not hasattr(namespace, "__wrapped__")


def test_python_numbers_get_tensorflows_dtypes():
    assert tf.constant([1.5, 2]).dtype == tf.float32
    assert tf.constant([1, 2]).dtype == tf.int32
    assert tf.constant([True]).dtype == tf.bool
    assert tf.constant(np.float64(2)).dtype == tf.float64
    assert tf.convert_to_tensor([1, 2], tf.float64).dtype == tf.float64
    assert tf.zeros([2, 3]).dtype == tf.ones(4).dtype == tf.float32
    x = np.ones(3)
    assert tf.convert_to_tensor(x) is x
    assert tf.constant(x) is not x
    assert tf.constant(3.0, shape=[2, 2]).tolist() == [[3, 3], [3, 3]]


def test_arrays():
    a = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    assert [part.shape for part in tf.split(a, [1, -1], axis=1)] == [(2, 1, 2), (2, 2, 2)]
    assert [part.shape for part in tf.split(a, 3, 1)] == [(2, 1, 2)] * 3
    with pytest.raises(ValueError, match="do not add up"):
        tf.split(a, [1, 1], axis=1)
    np.testing.assert_array_equal(tf.stack(tf.unstack(a, axis=1), axis=1), a)
    with pytest.raises(ValueError, match="num is 4"):
        tf.unstack(a, 4, axis=1)
    np.testing.assert_array_equal(tf.concat([a, a], 2)[..., 2:], a)
    np.testing.assert_array_equal(tf.transpose(a, [1, 0, 2]), a.transpose(1, 0, 2))
    np.testing.assert_array_equal(tf.matmul(a[0], a[1], transpose_b=True), a[0] @ a[1].T)
    np.testing.assert_array_equal(tf.matmul(a[0], a[1], transpose_a=True), a[0].T @ a[1])
    assert tf.squeeze(a[:, :1], [1]).shape == (2, 2)
    assert tf.expand_dims(a, -1).shape == (2, 3, 2, 1)
    np.testing.assert_array_equal(tf.reverse(a, [1]), a[:, ::-1])
    np.testing.assert_array_equal(tf.reduce_mean(a, [0, 1]), a.mean((0, 1)))
    np.testing.assert_array_equal(tf.reduce_max(a, 1, True), a.max(1, keepdims=True))
    assert tf.reduce_sum(a) == 66
    assert tf.tile([[1, 2]], [2, 1]).tolist() == [[1, 2], [1, 2]]
    assert tf.one_hot([1, 3], 3).tolist() == [[0, 1, 0], [0, 0, 0]]
    assert tf.sequence_mask([1, 3]).tolist() == [[True, False, False], [True] * 3]
    assert tf.sequence_mask([1, 0], 2, tf.int32).tolist() == [[1, 0], [0, 0]]
    assert tf.clip_by_value([3.0, 0.0], 1.0, -1.0).tolist() == [1.0, 1.0]
    assert tf.cast([1.7], tf.int32).tolist() == [1]
    assert tf.fill([2], 3).tolist() == [3, 3]
    assert tf.range(2, 8, 3).tolist() == [2, 5]
    assert tf.nn.embedding_lookup(a[0], [[2, 0]]).tolist() == [[[4, 5], [0, 1]]]
    assert tf.exp(tf.zeros_like(a)).sum() == tf.ones_like(a).sum()
    assert (tf.add(1, 2), tf.subtract(1, 3), tf.multiply(2, 3)) == (3, -2, 6)


def test_reverse_sequence():
    a = np.arange(12).reshape(2, 3, 2)
    turned = tf.reverse_sequence(a, [2, 0], seq_axis=1, batch_axis=0)
    np.testing.assert_array_equal(turned[0], a[0, [1, 0, 2]])
    np.testing.assert_array_equal(turned[1], a[1])
    swapped = tf.reverse_sequence(a.transpose(1, 0, 2), [2, 0], seq_axis=0, batch_axis=1)
    np.testing.assert_array_equal(swapped, turned.transpose(1, 0, 2))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"seq_lens\(0\) > input.dims\(1\)"):
        tf.reverse_sequence(a, [4, 0], seq_axis=1, batch_axis=0)


def test_random_numbers():
    tf.set_random_seed(3)
    first = tf.random.normal([4000], mean=2.0, stddev=0.5)
    tf.set_random_seed(3)
    np.testing.assert_array_equal(tf.random_normal([4000], 2.0, 0.5), first)
    assert abs(first.mean() - 2) < 0.05
    assert np.abs(tf.truncated_normal([4000], stddev=0.5)).max() <= 1
    whole = tf.random_uniform([1000], 3, 6, tf.int32)
    assert set(whole.tolist()) == {3, 4, 5}
    assert whole.dtype == tf.int32
    with pytest.raises(ValueError, match="maxval"):
        tf.random.uniform([2], dtype=tf.int32)
    np.testing.assert_array_equal(tf.random.uniform([3], seed=1), tf.random.uniform([3], seed=1))


def test_activations_are_the_fused_ones():
    for name in ("tanh", "sigmoid", "relu", "relu6", "elu", "selu", "softsign", "swish"):
        cell = tf.nn.rnn_cell.LSTMCell(2, activation=getattr(tf.nn, name))
        assert cell._activation.fused is not None, name
    assert tf.tanh is tf.nn.tanh
    np.testing.assert_allclose(tf.sigmoid(np.array([0.0, 3.0])), [0.5, 1 / (1 + np.exp(-3))])


def test_device_names_are_checked():
    with pytest.raises(ValueError, match="Unknown attribute 'nonsense'"), tf.device("nonsense"):
        pass
