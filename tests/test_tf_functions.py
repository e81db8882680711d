"""TensorFlow 1's array functions, in its spelling and with its dtypes."""

from __future__ import annotations

import numpy as np
import pytest

import lstmcore.tf as tf


@pytest.fixture(autouse=True)
def _own_graph():
    with tf.Graph().as_default():
        yield


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


REDUCTIONS = [(tf.reduce_sum, np.sum), (tf.reduce_mean, np.mean), (tf.reduce_max, np.max)]


@pytest.mark.parametrize(("reduce", "expected"), REDUCTIONS)
def test_reductions_in_tensorflow_1_spelling(reduce, expected):
    a = np.arange(12, dtype=np.float32).reshape(2, 3, 2) ** 2
    np.testing.assert_array_equal(
        reduce(a, reduction_indices=[0, 2], keep_dims=True), expected(a, (0, 2), keepdims=True)
    )
    assert reduce(a, keepdims=False, axis=1).shape == (2, 2)
    assert reduce([2, 3]).dtype == tf.int32
    with pytest.raises(ValueError, match="both 'reduction_indices' and 'axis'"):
        reduce(a, 1, reduction_indices=1)
    with pytest.raises(ValueError, match="both 'keep_dims' and 'keepdims'"):
        reduce(a, 1, True, keep_dims=True)


def test_tensorflow_1_spelling_of_axes():
    a = np.array([[1, 5, 2], [7, 0, 3]], np.float32)
    assert tf.argmax(a, dimension=1).tolist() == [1, 0]
    assert tf.argmin(a, dimension=1).tolist() == [0, 1]
    assert tf.argmax(a).tolist() == [1, 0, 1]
    assert tf.argmin(a).tolist() == [0, 1, 0]
    assert tf.argmax(a, 1).dtype == tf.int64
    assert tf.argmax(a, 1, output_type=tf.int32).dtype == tf.int32
    for softmax in (tf.nn.softmax, lambda *x, **y: np.exp(tf.nn.log_softmax(*x, **y))):
        np.testing.assert_allclose(softmax(a, dim=0).sum(0), 1, rtol=1e-6)
        np.testing.assert_allclose(softmax(a), np.exp(a) / np.exp(a).sum(1)[:, None], rtol=1e-6)
    assert tf.expand_dims(a, dim=1).shape == (2, 1, 3)
    assert tf.squeeze(a[:, None, None], squeeze_dims=[1]).shape == (2, 1, 3)
    with pytest.raises(ValueError, match="needs an axis"):
        tf.expand_dims(a)
    cell = tf.nn.rnn_cell.LSTMCell(3, activation=tf.nn.softmax)
    assert cell(a, cell.zero_state(2, tf.float32))[0].shape == (2, 3)


def test_choosing_and_small_functions():
    a = np.array([[1, 4], [9, 16], [25, 36]], np.float32)
    rows = tf.where([True, False, True], a, -a)
    np.testing.assert_array_equal(rows, [[1, 4], [-9, -16], [25, 36]])
    np.testing.assert_array_equal(tf.where(a > 4, a, 0.5), np.where(a > 4, a, np.float32(0.5)))
    assert tf.where(tf.equal(a, 9)).tolist() == [[1, 0]]
    assert tf.where(a > 4, a, 0.5).dtype == tf.float32
    with pytest.raises(ValueError, match="x and y must both be non-None"):
        tf.where(a > 4, a)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"2 elements, x has 3 rows"):
        tf.where([True, False], a, a)
    np.testing.assert_array_equal(tf.sqrt(a), [[1, 2], [3, 4], [5, 6]])
    np.testing.assert_allclose(tf.log(tf.exp([0.5])), [0.5], rtol=1e-6)
    assert (tf.to_float([3]).dtype, tf.to_int32([3.7]).tolist()) == (tf.float32, [3])
    assert tf.nn.dropout(a, keep_prob=0.5) is a
    assert tf.no_op() is None


def test_dtypes_are_not_mixed():
    a, b = np.ones((2, 3), np.float32), np.ones((3, 4))
    for call in (lambda: tf.matmul(a, b), lambda: tf.nn.xw_plus_b(a, b, np.ones(4))):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"float32 .* is a float64 tensor"):
            call()
    assert tf.matmul(b.T, [[1.0], [2.0], [3.0]]).tolist() == [[6.0]] * 4
    assert tf.matmul(b.T, [[1.0], [2.0], [3.0]]).dtype == tf.float64


def test_embedding_lookup():
    table = tf.get_variable("embedding", [5, 3])
    np.testing.assert_array_equal(
        tf.nn.embedding_lookup(table, [[4, 0]]), table.numpy()[None, [4, 0]]
    )
    for bad, text in (([2, 5], r"indices\[1\] = 5"), ([[0], [-1]], r"indices\[1,0\] = -1")):
        for look in (tf.nn.embedding_lookup, tf.gather):
            with pytest.raises(tf.errors.InvalidArgumentError, match=text + r" is not in \[0, 5\)"):
                look(table, bad)
    with pytest.raises(TypeError, match="float32"):
        tf.nn.embedding_lookup(table, tf.constant([1.0]))
    words = np.arange(10.0).reshape(5, 2)
    dealt = [words[0::2], words[1::2]]
    np.testing.assert_array_equal(tf.nn.embedding_lookup(dealt, range(5)), words)
    np.testing.assert_array_equal(
        tf.nn.embedding_lookup([words[:3], words[3:]], [4, 2], partition_strategy="div"),
        words[[4, 2]],
    )


def test_multinomial_draws_from_the_softmax():
    logits = tf.log([[0.2, 0.5, 0.0, 0.3], [0.0, 0.0, 1.0, 0.0]])
    drawn = tf.multinomial(logits, 4000, seed=5)
    assert (drawn.shape, drawn.dtype) == ((2, 4000), tf.int64)
    np.testing.assert_allclose(
        np.bincount(drawn[0], minlength=4) / 4000, [0.2, 0.5, 0, 0.3], atol=0.04
    )
    assert (drawn[1] == 2).all()
    assert tf.random.categorical(logits, 2, tf.int32).dtype == tf.int32
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"a matrix, got shape \[4\]"):
        tf.multinomial(logits[0], 1)


def test_collections_and_assign():
    weights = tf.get_variable("w", [2, 3], initializer=tf.contrib.layers.xavier_initializer(seed=2))
    step = tf.get_variable("step", [], tf.int64, trainable=False)
    assert 0 < np.abs(weights).max() <= np.sqrt(6 / 5)
    assert tf.get_collection(tf.GraphKeys.GLOBAL_VARIABLES) == [weights, step]
    assert tf.get_collection(tf.GraphKeys.GLOBAL_VARIABLES, scope="s") == [step]
    assert tf.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES) == [weights]
    assert tf.get_collection("losses") == []
    assert tf.assign(step, 7) is step
    assert step.eval() == 7


def test_logging(caplog):
    before = tf.logging.get_verbosity()
    try:
        tf.logging.set_verbosity(tf.logging.WARN)
        tf.logging.info("hidden %d", 1)
        tf.logging.set_verbosity(tf.logging.INFO)
        tf.logging.info("shown %d", 2)
    finally:
        tf.logging.set_verbosity(before)
    assert [(r.name, r.getMessage()) for r in caplog.records] == [("lstmcore", "shown 2")]


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
