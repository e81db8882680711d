"""Variables: reading, assigning, sharding; initializers and activations by name."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lstmcore import _core, activations
from lstmcore.cells.lstm_cells import LSTMCell
from lstmcore.variables import initializers
from lstmcore.variables.graph import Graph
from lstmcore.variables.variable import Variable
from lstmcore.variables.variable_scope import AUTO_REUSE, get_variable, variable_scope
from lstmcore.variables.variable_store import fixed_size_partitioner


@pytest.fixture(autouse=True)
def graph():
    with Graph().as_default():
        yield


def test_reading_gives_read_only_arrays_of_the_moment():
    variable = Variable(np.arange(6.0).reshape(2, 3), "a/b")
    assert (variable.name, variable.op.name) == ("a/b:0", "a/b")
    assert (variable.shape, variable.get_shape(), variable.dtype) == ((2, 3), (2, 3), np.float64)
    before = variable.numpy()
    with pytest.raises(ValueError, match="read-only"):
        before[0, 0] = 1
    variable.assign(before + 1)
    np.testing.assert_array_equal(before, np.arange(6.0).reshape(2, 3))
    for read in (variable.numpy(), variable.value(), variable.read_value(), np.asarray(variable)):
        np.testing.assert_array_equal(read, before + 1)
    assert np.asarray(variable, np.float32).dtype == np.float32
    assert repr(variable) == "<Variable 'a/b:0' shape=(2, 3) dtype=float64>"


def test_assign_converts_copies_and_checks():
    variable = Variable(np.zeros((2, 3), np.float32), "v")
    source = np.arange(6).reshape(3, 2).T
    assert variable.assign(source) is variable
    source[:] = 0
    np.testing.assert_array_equal(variable.numpy(), [[0, 2, 4], [1, 3, 5]])
    assert variable.numpy().flags.c_contiguous
    assert variable.dtype == np.float32
    for bad, error in (
        (np.ones((3, 2)), ValueError),
        (np.ones((2, 3), complex), ValueError),
        (1.0, ValueError),
        ({}, TypeError),
    ):
        with pytest.raises(error, match="v:0"):
            variable.assign(bad)
    np.testing.assert_array_equal(variable.numpy()[1], [1, 3, 5])


def test_arithmetic_is_that_of_the_values():
    value = np.array([[1.5, -2.0, 3.0], [0.5, 4.0, -1.0]], np.float32)
    v = Variable(value, "v")
    other = Variable(value + 1, "other")
    for result, expected in (
        (v * 2 + 1, value * 2 + 1),
        (1 - v, 1 - value),
        (value / v, np.ones_like(value)),
        (-v @ other.numpy().T, -value @ (value + 1).T),
        (v + other, 2 * value + 1),
        (np.tanh(v), np.tanh(value)),
        (v > 1, value > 1),
        (np.add.reduce(v, axis=1), value.sum(1)),
        (v[1, ::2], value[1, ::2]),
        (v.eval(), value),
    ):
        assert type(result) is np.ndarray
        np.testing.assert_array_equal(result, expected)
    assert (len(v), v.ndim, (v * 2).dtype) == (2, 2, np.float32)
    assert v.load(value * 2, session=None) is None
    np.testing.assert_array_equal(v, value * 2)
    with pytest.raises(ValueError, match="read-only"):
        v[0][:] = 0
    with pytest.raises(ValueError, match="ambiguous"):
        bool(v)


def test_variables_compare_by_identity_and_are_not_changed_in_place():
    a, b = Variable(np.ones(3), "a"), Variable(np.ones(3), "b")
    assert a == a
    assert a != b
    assert (a in [b], a in [b, a], {a: 1, b: 2}[b]) == (False, True, 2)
    for change in (lambda: a.__iadd__(1), lambda: np.add(a, 1, out=a)):
        with pytest.raises(TypeError, match=r"'a:0'.* use its assign"):
            change()
    total = np.zeros(3)
    total += a
    np.testing.assert_array_equal(total, [1, 1, 1])


def test_a_partitioned_variable_computes_as_a_whole():
    with variable_scope("p", partitioner=fixed_size_partitioner(2)):
        whole = get_variable("w", [3, 2])
    value = np.arange(6, dtype=np.float32).reshape(3, 2)
    whole.load(value)
    np.testing.assert_array_equal(whole @ value.T + 1, value @ value.T + 1)
    np.testing.assert_array_equal(whole.eval(), value)
    assert (whole.ndim, whole == whole, whole != whole.parts[0]) == (2, True, True)


def test_assigning_a_shared_variable_reaches_every_cell():
    cells = [LSTMCell(3, name="n", reuse=AUTO_REUSE) for _ in range(2)]
    inputs = np.full((1, 2), 0.7)
    state = (np.full((1, 3), 0.2), np.full((1, 3), -0.4))
    before = [cell(inputs, state)[0] for cell in cells]
    np.testing.assert_array_equal(before[0], before[1])
    cells[0].weights[1].assign(np.linspace(-1, 1, 12))
    after = [cell(inputs, state)[0] for cell in cells]
    np.testing.assert_array_equal(after[0], after[1])
    assert np.abs(after[1] - before[1]).max() > 1e-3


@pytest.mark.parametrize(("shards", "rows"), [(3, [3, 2, 2]), (1, [7]), (9, [1] * 7), (2, [4, 3])])
def test_num_unit_shards(shards, rows):
    cell = LSTMCell(4, num_unit_shards=shards, num_proj=3, num_proj_shards=2, use_peepholes=True)
    plain = LSTMCell(4, num_proj=3, use_peepholes=True)
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(2, 4))
    state = (rng.normal(size=(2, 4)), rng.normal(size=(2, 3)))
    cell(inputs, state)
    names = [variable.op.name for variable in cell.weights]
    assert names[:4] == [f"lstm_cell/{n}" for n in ("bias", "w_f_diag", "w_i_diag", "w_o_diag")]
    parts = [variable for variable in cell.weights if "lstm_cell/kernel/part_" in variable.name]
    assert [part.shape for part in parts] == [(count, 16) for count in rows]
    assert names[-2:] == [f"lstm_cell/projection/kernel/part_{k}" for k in range(2)]
    assert parts[-1].slice_info is not None
    assert parts[-1].slice_info.full_name == "lstm_cell/kernel"
    assert parts[-1].slice_info.full_shape == (7, 16)
    assert parts[-1].slice_info.offset == (sum(rows[:-1]), 0)

    plain(inputs, state)
    joined = [np.concatenate([part.numpy() for part in parts])]
    joined += [variable.numpy() for variable in cell.weights[:4]]
    joined += [np.concatenate([variable.numpy() for variable in cell.weights[-2:]])]
    plain.set_weights(joined)
    np.testing.assert_array_equal(cell(inputs, state)[0], plain(inputs, state)[0])
    parts[0].assign(parts[0].numpy() + 1)
    assert np.abs(cell(inputs, state)[0] - plain(inputs, state)[0]).max() > 1e-4


def test_partitioned_variable_reads_and_assigns_as_a_whole():
    partitioner = fixed_size_partitioner(2, axis=1)
    with variable_scope("p", partitioner=partitioner, reuse=AUTO_REUSE):
        whole = get_variable("w", [2, 5], dtype="float64")
        assert get_variable("w", [2, 5], dtype="float64") is whole
    assert [part.shape for part in whole] == [(2, 3), (2, 2)]
    value = np.arange(10.0).reshape(2, 5)
    whole.assign(value)
    np.testing.assert_array_equal(whole.numpy(), value)
    np.testing.assert_array_equal(whole.parts[1].numpy(), value[:, 3:])
    with pytest.raises(ValueError, match="Shape mismatch"):
        whole.assign(value.T)
    with (
        variable_scope("p", reuse=AUTO_REUSE),
        pytest.raises(ValueError, match="partitioned version of the variable was found"),
    ):
        get_variable("w", [2, 5], dtype="float64")
    with (
        variable_scope("p", reuse=AUTO_REUSE, partitioner=fixed_size_partitioner(2)),
        pytest.raises(ValueError, match=r"specified partitions \[2, 1\] and found .* \[1, 2\]"),
    ):
        get_variable("w", [2, 5], dtype="float64")
    with variable_scope("p", reuse=True):
        assert get_variable("w", [2, 5], dtype="float64") is whole


def test_glorot_uniform_is_the_default_and_looks_at_the_whole_kernel():
    for shards in (None, 4):
        cell = LSTMCell(40, num_unit_shards=shards)
        cell.build(50)
        bound = math.sqrt(6 / (90 + 160))
        kernel = np.concatenate([v.numpy().ravel() for v in cell.weights if "kernel" in v.name])
        assert 0.98 * bound < np.abs(kernel).max() <= bound
        assert abs(kernel.mean()) < 0.02 * bound


INITIALIZERS = [
    ("zeros", (3, 4), 0.0, 0.0),
    ("Ones", (3, 4), 1.0, 0.0),
    (initializers.Constant(2.5), (7,), 2.5, 0.0),
    ("random_uniform", (60, 70), 0.0, 0.05 / math.sqrt(3)),
    (initializers.RandomNormal(1.0, 0.2, seed=4), (60, 70), 1.0, 0.2),
    ("truncated_normal", (60, 70), 0.0, 0.05 * 0.8796),
    ("glorot_normal", (60, 70), 0.0, math.sqrt(2 / 130)),
    ("he_normal", (60, 70), 0.0, math.sqrt(2 / 60)),
    ("he_uniform", (60, 70), 0.0, math.sqrt(2 / 60)),
    ("LecunNormal", (60, 70), 0.0, math.sqrt(1 / 60)),
    ("lecun_uniform", (60, 70), 0.0, math.sqrt(1 / 60)),
    (initializers.VarianceScaling(3.0, "fan_out", "untruncated_normal"), (60, 70), 0.0, 0.207),
    (
        {"class_name": "RandomUniform", "config": {"minval": 1.0, "maxval": 2.0}},
        (60, 70),
        1.5,
        0.289,
    ),
]


@pytest.mark.parametrize(("identifier", "shape", "mean", "deviation"), INITIALIZERS)
def test_initializer_distributions(identifier, shape, mean, deviation):
    values = initializers.get(identifier)(shape, dtype="float32")
    assert (values.shape, values.dtype) == (shape, np.float32)
    # 4200 values: over six standard errors of either statistic
    assert values.mean() == pytest.approx(mean, abs=0.1 * deviation + 1e-12)
    assert values.std() == pytest.approx(deviation, rel=0.08)


def test_orthogonal_and_identity():
    tall = initializers.Orthogonal(gain=2.0)((5, 3), "float64")
    np.testing.assert_allclose(tall.T @ tall, 4 * np.eye(3), atol=1e-12)
    wide = initializers.get("orthogonal")((3, 5), "float64")
    np.testing.assert_allclose(wide @ wide.T, np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(initializers.Identity(3.0)((2, 3)), [[3, 0, 0], [0, 3, 0]])
    with pytest.raises(ValueError, match="at least two-dimensional"):
        initializers.Orthogonal()((4,))


def test_initializer_identifiers():
    seeded = initializers.GlorotUniform(seed=5)
    np.testing.assert_array_equal(seeded((3, 4)), seeded((3, 4)))
    config = initializers.serialize(seeded)
    assert (config["class_name"], config["config"]) == ("GlorotUniform", {"seed": 5})
    np.testing.assert_array_equal(initializers.get(config)((3, 4)), seeded((3, 4)))
    assert initializers.get(None) is None
    assert isinstance(initializers.get(initializers.Zeros), initializers.Zeros)
    with pytest.raises(ValueError, match="Unknown initializer: 'notinit'"):
        LSTMCell(4, initializer="notinit")
    with pytest.raises(ValueError, match="Could not interpret initializer identifier: 5"):
        LSTMCell(4, initializer=5)
    with pytest.raises(ValueError, match=r"must return shape \(4, 8\)"):
        LSTMCell(2, initializer=lambda shape, dtype: np.ones(3)).build(2)


def test_initializer_reaches_all_variables_but_the_bias():
    cell = LSTMCell(3, use_peepholes=True, num_proj=2, initializer=initializers.Constant(0.5))
    cell.build((None, 4))
    for variable in cell.weights:
        assert (variable.numpy() == (0.0 if "bias" in variable.name else 0.5)).all()


def test_fused_activations_are_the_kernels():
    known = {name: activations.get(name) for name in activations._BY_NAME}
    fused = {activation.fused for activation in known.values() if activation.fused}
    assert fused == set(_core.fused_activations())


@pytest.mark.parametrize("name", sorted(set(activations._BY_NAME)))
def test_numpy_activations(name):
    activation = activations.get(name)
    x = np.linspace(-4, 4, 41).reshape(1, 41)
    result = activation(x.astype(np.float32))
    assert (result.shape, result.dtype) == (x.shape, np.float32)
    np.testing.assert_allclose(result, activation(x), atol=3e-6, rtol=3e-6)
    if activation.fused:
        np.testing.assert_allclose(
            _core.activate(activation.fused, x), activation(x), atol=1e-14, rtol=1e-13
        )


def test_activations_at_known_points():
    expected = {
        "gelu": 1.5 * 0.5 * (1 + math.erf(1.5 / math.sqrt(2))),
        "mish": 1.5 * math.tanh(math.log1p(math.exp(1.5))),
        "softplus": math.log1p(math.exp(1.5)),
    }
    for name, value in expected.items():
        assert activations.get(name)(np.array([1.5]))[0] == pytest.approx(value, rel=1e-14)
    x = np.array([[1.0, 2.0, 4.0], [1e4, 0.0, -1e4]])
    softmax = activations.get("softmax")(x)
    np.testing.assert_allclose(softmax.sum(axis=1), 1)
    np.testing.assert_allclose(softmax[0, 2] / softmax[0, 0], math.exp(3))
    np.testing.assert_allclose(activations.get("log_softmax")(x)[0], np.log(softmax[0]))


def test_activation_identifiers():
    assert activations.get(np.tanh).fused == "tanh"
    assert activations.get(activations.relu6).fused == "relu6"
    assert LSTMCell(2, activation="").get_config()["activation"] == "tanh"
    with pytest.raises(ValueError, match="Unknown activation function 'notanact' cannot be deser"):
        LSTMCell(2, activation="notanact")
    with pytest.raises(TypeError, match="Could not interpret activation function identifier: 5"):
        LSTMCell(2, activation=5)
