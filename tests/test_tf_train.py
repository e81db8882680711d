"""tf.train.Saver: a whole model restored by the names of its variables, or nothing changed."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import checkpoint_writer as writer
import lstmcore.tf as tf
from lstmcore.errors import CheckpointError
from lstmcore.variables.variable_store import fixed_size_partitioner
from restore_cases import assert_is, cell_tensors

SCOPE = "rnnlm/rnn/multi_rnn_cell/cell_0/basic_lstm_cell"


@pytest.fixture(autouse=True)
def _own_graph():
    with tf.Graph().as_default():
        yield


def model(words, partitioner=None):
    """A character model in TensorFlow 1's manner: embedding, cells, softmax."""
    with tf.variable_scope("rnnlm", reuse=tf.AUTO_REUSE):
        softmax_w = tf.get_variable("softmax_w", [5, 7])
        softmax_b = tf.get_variable("softmax_b", [7])
        with tf.variable_scope("words", partitioner=partitioner):
            embedding = tf.get_variable("embedding", [7, 3])
        inputs = tf.nn.embedding_lookup(embedding, words, "div")
        cell = tf.contrib.rnn.MultiRNNCell([tf.contrib.rnn.BasicLSTMCell(5)])
        outputs, _ = tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32)
        return tf.nn.softmax(tf.matmul(outputs.reshape(-1, 5), softmax_w) + softmax_b)


def tensors():
    rng = np.random.default_rng(4)
    return {
        **cell_tensors(SCOPE),
        "rnnlm/softmax_w": rng.normal(size=(5, 7)).astype(np.float32),
        "rnnlm/softmax_b": rng.normal(size=7).astype(np.float32),
        "rnnlm/words/embedding": rng.normal(size=(7, 3)).astype(np.float32),
        "rnnlm/softmax_w/Adam": np.ones((5, 7), np.float32),
        "global_step": np.array(812, np.int64),
    }


def save(folder, values):
    return str(writer.write(folder / "model.ckpt-812", values))


@pytest.mark.parametrize("partitioner", [None, fixed_size_partitioner(3)])
def test_a_character_model_is_restored_wholly(tmp_path, partitioner, caplog):
    values = tensors()
    words = [[1, 6, 0, 3]]
    before = model(words, partitioner)
    saver = tf.train.Saver(max_to_keep=1)
    assert saver.restore(None, save(tmp_path, values)) is None
    for variable in tf.global_variables():
        if variable.slice_info is None:
            assert_is(variable, values[variable.op.name])
    parts = [v for v in tf.global_variables() if "embedding" in v.name]
    assert len(parts) == (1 if partitioner is None else 3)
    assert_is(np.concatenate(parts), values["rnnlm/words/embedding"])
    after = model(words, partitioner)
    assert np.abs(after - before).max() > 1e-3
    assert len(tf.global_variables()) == 4 + len(parts)
    assert not caplog.records


def test_var_list_by_list_and_by_name(tmp_path):
    path = save(tmp_path, tensors())
    model([[0]], fixed_size_partitioner(2))
    step = tf.get_variable("counted", [], tf.int64)
    bias = tf.get_variable("elsewhere", [7], tf.float64)
    kernel = next(v for v in tf.global_variables() if v.name == f"{SCOPE}/kernel:0")
    with tf.variable_scope("rnnlm/words", reuse=True):
        embedding = tf.get_variable("embedding", [7, 3])
    untouched = kernel.numpy()
    named = {"global_step": step, "rnnlm/softmax_b": bias, "rnnlm/words/embedding": embedding}
    tf.train.Saver(named).restore(None, path)
    assert step.eval() == 812
    assert bias.dtype == np.float64
    assert_is(bias, tensors()["rnnlm/softmax_b"].astype(np.float64))
    assert_is(embedding, tensors()["rnnlm/words/embedding"])
    assert kernel.numpy() is untouched
    tf.train.Saver([kernel]).restore(None, tf.train.load_checkpoint(path))
    assert_is(kernel, tensors()[f"{SCOPE}/kernel"])


def test_nothing_changes_unless_everything_fits(tmp_path):
    model([[0]])
    stored = tensors()
    del stored["rnnlm/softmax_b"]
    stored["rnnlm/softmax_w"] = stored["rnnlm/softmax_w"].T.copy()
    stored["rnnlm/words/embedding"] = stored["rnnlm/words/embedding"].astype(np.float64)
    before = {v.name: v.numpy() for v in tf.global_variables()}
    with pytest.raises(CheckpointError) as raised:
        tf.train.Saver().restore(None, save(tmp_path, stored))
    for text in (
        "3 of the variables cannot be restored, none was changed",
        "no tensor 'rnnlm/softmax_b'",
        "tensor 'rnnlm/softmax_w' has shape [7, 5], the variable [5, 7]",
        "tensor 'rnnlm/words/embedding' has dtype float64, the variable float32",
    ):
        assert text in str(raised.value)
    assert all(v.numpy() is before[v.name] for v in tf.global_variables())


def test_integers_are_not_taken_for_floats(tmp_path):
    step = tf.get_variable("global_step", [])
    with pytest.raises(CheckpointError, match="has dtype int64, the variable float32"):
        tf.train.Saver([step]).restore(None, save(tmp_path, tensors()))


def test_cells_that_do_not_exist_yet_are_reported(tmp_path, caplog):
    tf.get_variable("rnnlm/softmax_b", [7])
    path = save(tmp_path, tensors())
    with caplog.at_level(logging.WARNING, "lstmcore"):
        tf.train.Saver().restore(None, path)
    assert len(caplog.records) == 1
    assert SCOPE in caplog.text
    caplog.clear()
    tf.train.Saver(tf.global_variables()).restore(None, path)
    assert not caplog.records


def test_what_savers_refuse(tmp_path):
    path = save(tmp_path, tensors())
    with pytest.raises(ValueError, match="when it is None"):
        tf.train.Saver().restore(None, None)
    with pytest.raises(ValueError, match="call the model once"):
        tf.train.Saver().restore(None, path)
    with pytest.raises(CheckpointError, match="nowhere"):
        tf.train.Saver().restore(None, str(tmp_path / "nowhere"))
    with pytest.raises(TypeError, match="is not a Variable"):
        tf.train.Saver(["softmax_w"])
    with pytest.raises(NotImplementedError, match="reshape=True"):
        tf.train.Saver(reshape=True)
    with pytest.raises(NotImplementedError, match="only reads checkpoints"):
        tf.train.Saver().save(None, path, global_step=3)
