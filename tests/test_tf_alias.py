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


def positional(function):
    """Its arguments but for those that are ours, which are by keyword only."""
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]


def test_signatures_are_tensorflows():
    assert str(inspect.signature(tf.nn.rnn_cell.MultiRNNCell)) == (
        "(cells: 'Any', state_is_tuple: 'bool' = True) -> 'None'"
    )
    order = positional(tf.contrib.rnn.stack_bidirectional_dynamic_rnn)
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
    order = positional(tf.nn.dynamic_rnn)
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
        (lambda: tf.ConfigProto(allow_soft_placement=True), "tf.ConfigProto does not exist"),
        (lambda: tf.global_variables_initializer(), "remove the call"),
        (lambda: tf.gradients(1, 2), "computes no gradients"),
    ],
)
def test_what_needs_a_session_says_what_to_do(call, text):
    with pytest.raises(NotImplementedError) as raised:
        call()
    assert text in str(raised.value)
    assert "computes at once on NumPy arrays" in str(raised.value)


@pytest.mark.parametrize(
    ("place", "name", "advice"),
    [
        ("", "einsum", "Use NumPy for other array functions: numpy.einsum"),
        ("compat.v1.", "reduce_prod", "numpy.prod"),
        ("", "layers", "your own code"),
        ("", "Variable", "Use tf.get_variable"),
        ("", "while_loop", "use plain Python"),
        ("", "__version__", "lstmcore.__version__"),
        ("nn.", "softmax_cross_entropy_with_logits", "computes no gradients"),
        ("nn.", "conv2d", "Use NumPy"),
        ("nn.rnn_cell.", "GRUCell", "a subclass of tf.nn.rnn_cell.RNNCell"),
        ("contrib.rnn.", "PhasedLSTMCell", "a subclass of tf.nn.rnn_cell.RNNCell"),
        ("contrib.cudnn_rnn.", "CudnnLSTM", "LSTM cells only"),
        ("contrib.", "seq2seq", "your own code"),
        ("contrib.layers.", "l2_regularizer", "computes no gradients"),
        ("train.", "AdamOptimizer", "computes no gradients"),
        ("errors.", "OutOfRangeError", "your own code"),
        ("random.", "shuffle", "your own code"),
        ("logging.", "TaskLevelStatusMessage", "your own code"),
        ("compat.", "v2", "your own code"),
    ],
)
def test_a_missing_name_says_what_to_use(place, name, advice):
    namespace = tf
    for part in place.split(".")[:-1]:
        namespace = getattr(namespace, part)
    with pytest.raises(AttributeError) as raised:
        getattr(namespace, name)
    where = f"tf.{place}".removesuffix(".").replace("tf.compat.v1", "tf")
    assert str(raised.value).startswith(f"lstmcore.{where} has no '{name}': it ")
    assert advice in str(raised.value)
    assert not hasattr(namespace, "__wrapped__")


def test_activations_are_the_fused_ones():
    for name in ("tanh", "sigmoid", "relu", "relu6", "elu", "selu", "softsign", "swish"):
        cell = tf.nn.rnn_cell.LSTMCell(2, activation=getattr(tf.nn, name))
        assert cell._activation.fused is not None, name
    assert tf.tanh is tf.nn.tanh
    np.testing.assert_allclose(tf.sigmoid(np.array([0.0, 3.0])), [0.5, 1 / (1 + np.exp(-3))])


def test_device_names_are_checked():
    with pytest.raises(ValueError, match="Unknown attribute 'nonsense'"), tf.device("nonsense"):
        pass


def test_a_scope_with_a_partitioner_takes_the_place_of_num_unit_shards():
    with tf.variable_scope("root", partitioner=tf.fixed_size_partitioner(3)):
        cell = tf.nn.rnn_cell.LSTMCell(4)
        cell(np.full((2, 3), 0.5, np.float32), cell.zero_state(2, tf.float32))
    names = [variable.op.name for variable in tf.global_variables()]
    assert "root/lstm_cell/kernel/part_0" in names
    assert tf.compat.v1.fixed_size_partitioner is tf.fixed_size_partitioner
