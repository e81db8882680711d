"""LSTMBlockCell, LSTMBlockFusedCell and CudnnCompatibleLSTMCell."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import reference
import tolerances
from lstmcore.cells.block_cells import CudnnCompatibleLSTMCell, LSTMBlockCell, LSTMBlockFusedCell
from lstmcore.cells.lstm_cells import LSTMCell
from lstmcore.cells.rnn_cell import LSTMStateTuple
from lstmcore.errors import InvalidArgumentError
from lstmcore.rnn.dynamic import dynamic_rnn
from lstmcore.variables.variable_scope import AUTO_REUSE, variable_scope

F32 = np.float32
N, T, WIDTH, H = 3, 6, 4, 7


def draw(*shape, seed=0, scale=1.0):
    return (scale * np.random.default_rng([seed, *shape]).standard_normal(shape)).astype(F32)


def randomize(layer, seed=5):
    layer.set_weights(
        [draw(*w.shape, seed=seed + k, scale=0.5) for k, w in enumerate(layer.weights)]
    )
    return layer


def exact(layer, *, forget_bias=1.0, cell_clip=None):
    """The layer as the reference's cell, found by the names of its variables."""
    values = {w.name.rpartition("/")[2].removesuffix(":0"): w.numpy() for w in layer.weights}
    return reference.Cell(**values, forget_bias=forget_bias, cell_clip=cell_clip)


@pytest.mark.parametrize("use_peephole", [False, True])
@pytest.mark.parametrize("cell_clip", [None, 0.6])
def test_block_cell_step(use_peephole, cell_clip):
    cell = LSTMBlockCell(H, forget_bias=0.3, cell_clip=cell_clip, use_peephole=use_peephole)
    x, c, h = draw(N, WIDTH), draw(N, H, scale=2), draw(N, H, seed=1)
    cell.build((None, WIDTH))
    output, state = randomize(cell)(x, (c, h))
    wanted = reference.step(
        reference.rounded(exact(cell, forget_bias=0.3, cell_clip=cell_clip), F32), x, c, h
    )
    limit = tolerances.AGAINST_REFERENCE["float32"]["step"]
    assert isinstance(state, LSTMStateTuple)
    assert tolerances.error(state.c, wanted[0]) <= limit
    assert tolerances.error(state.h, wanted[1]) <= limit
    np.testing.assert_array_equal(output, state.h)
    names = ["kernel", "bias"] + ["w_i_diag", "w_f_diag", "w_o_diag"] * use_peephole
    assert [w.name for w in cell.weights] == [f"lstm_cell/{name}:0" for name in names]


@pytest.mark.parametrize("cell_clip", [0, -1, 0.0])
def test_clip_of_zero_or_less_is_none(cell_clip):
    x, state = draw(N, WIDTH), (draw(N, H, scale=4), draw(N, H, seed=1))
    clipped = LSTMBlockCell(H, cell_clip=cell_clip)
    clipped.build((None, WIDTH))
    plain = LSTMBlockCell(H, name="plain")
    plain.build((None, WIDTH))
    plain.set_weights(randomize(clipped).get_weights())
    np.testing.assert_array_equal(clipped(x, state)[1].c, plain(x, state)[1].c)


def test_shares_the_variables_of_lstm_cell_and_gives_its_bits():
    x, state = draw(N, WIDTH), (draw(N, H, scale=2), draw(N, H, seed=1))
    with variable_scope("model"):
        cell = LSTMCell(H, name="lstm_cell")
        expected = cell(x, state)
    with variable_scope("model", reuse=True):
        block = LSTMBlockCell(H)
        actual = block(x, state)
    assert block.weights[0] is cell.weights[0]
    np.testing.assert_array_equal(actual[0], expected[0])
    np.testing.assert_array_equal(actual[1].c, expected[1].c)


def test_cudnn_compatible_cell_has_forget_bias_zero():
    cell = CudnnCompatibleLSTMCell(H)
    x = draw(N, T, WIDTH)
    dynamic_rnn(cell, x, dtype=F32)
    randomize(cell)
    outputs, state = dynamic_rnn(cell, x, [6, 2, 0], dtype=F32)
    wanted = reference.forward(exact(cell, forget_bias=0.0), x, lengths=np.array([6, 2, 0]))
    limit = tolerances.AGAINST_REFERENCE["float32"]["sequence"]
    assert tolerances.error(outputs, wanted.y) <= limit
    assert tolerances.error(state.c, wanted.c) <= limit
    assert cell.weights[0].name == "rnn/cudnn_compatible_lstm_cell/kernel:0"


@pytest.mark.parametrize("use_peephole", [False, True])
@pytest.mark.parametrize("lengths", [None, [0, 6, 4]])
@pytest.mark.parametrize("with_state", [False, True])
def test_fused_cell(use_peephole, lengths, with_state):
    layer = LSTMBlockFusedCell(H, forget_bias=-0.2, cell_clip=0.9, use_peephole=use_peephole)
    x = draw(T, N, WIDTH)
    start = (draw(N, H, scale=2), draw(N, H, seed=1)) if with_state else None
    layer(x, start, dtype=F32)
    outputs, state = randomize(layer)(x, start, dtype=F32, sequence_length=lengths)
    c, h = start if with_state else (None, None)
    wanted = reference.forward(
        reference.rounded(exact(layer, forget_bias=-0.2, cell_clip=0.9), F32),
        x.transpose(1, 0, 2),
        c,
        h,
        None if lengths is None else np.array(lengths),
    )
    limit = tolerances.AGAINST_REFERENCE["float32"]["sequence"]
    assert tolerances.error(outputs, wanted.y.transpose(1, 0, 2)) <= limit
    assert tolerances.error(state.c, wanted.c) <= limit
    assert tolerances.error(state.h, wanted.h) <= limit
    assert {w.name.partition("/")[0] for w in layer.weights} == {"lstm_fused_cell"}


def test_fused_cell_keeps_nan_in_the_padding_out():
    layer = LSTMBlockFusedCell(H)
    x = draw(T, N, WIDTH)
    clean, _ = layer(x, dtype=F32, sequence_length=[2, 6, 0])
    x[2:, 0] = np.nan
    x[:, 2] = np.inf
    outputs, state = layer(x, dtype=F32, sequence_length=[2, 6, 0])
    np.testing.assert_array_equal(outputs, clean)
    assert not np.signbit(outputs[2:, 0]).any()
    assert not state.c[2].any()


def test_fused_cell_assigned_weights_take_effect_and_scopes_share():
    x = draw(T, N, WIDTH)
    layer = LSTMBlockFusedCell(H, reuse=AUTO_REUSE)
    before, _ = layer(x, dtype=F32)
    twin = LSTMBlockFusedCell(H, reuse=AUTO_REUSE)
    np.testing.assert_array_equal(twin(x, dtype=F32)[0], before)
    layer.weights[1].assign(draw(4 * H))
    after, _ = layer(x, dtype=F32)
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_array_equal(twin(x, dtype=F32)[0], after)


@pytest.mark.parametrize("make", [LSTMBlockCell, LSTMBlockFusedCell, CudnnCompatibleLSTMCell])
def test_copies_and_configs(make):
    layer = make(H)
    fused = make is LSTMBlockFusedCell
    arguments = (
        (draw(T, N, WIDTH), None, F32) if fused else (draw(N, WIDTH), (draw(N, H), draw(N, H)))
    )
    expected = layer(*arguments)[0]
    for twin in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        np.testing.assert_array_equal(twin(*arguments)[0], expected)
        twin.set_weights([w + 1 for w in layer.get_weights()])
        assert np.abs(twin(*arguments)[0] - expected).max() > 0.01
        np.testing.assert_array_equal(layer(*arguments)[0], expected)
    again = make.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_positional_orders_differ_as_in_tensorflow():
    assert LSTMBlockCell(H, 0.5, 2.0, True, "float32", None, "a").dtype == "float32"
    assert LSTMBlockFusedCell(H, 0.5, 2.0, True, None, "float32", "a").dtype == "float32"


STATE = (draw(N, H), draw(N, H))


@pytest.mark.parametrize(
    ("x", "state", "error", "text"),
    [
        (
            draw(N, WIDTH),
            (*STATE, STATE[0]),
            ValueError,
            "Expecting state to be a tuple with length 2.",
        ),
        (draw(N, WIDTH), STATE[:1], ValueError, "Expecting state to be a tuple with length 2."),
        (draw(2, WIDTH), STATE, InvalidArgumentError, "cs_prev.dims(0) != batch_size: 3 vs. 2"),
        (
            draw(N, WIDTH),
            (STATE[0], draw(N, 6)),
            InvalidArgumentError,
            "h_prev.dims(1) != cell_size: 6 vs. 7",
        ),
        (
            draw(N, 5),
            STATE,
            InvalidArgumentError,
            "w.dim_size(0) != input_size + cell_size: 11 vs. 12",
        ),
        (draw(N, WIDTH, 1), STATE, ValueError, 'Input 0 of layer "lstm_cell" is incompatible'),
    ],
)
def test_block_cell_refuses(x, state, error, text):
    cell = LSTMBlockCell(H)
    cell(draw(N, WIDTH), STATE)
    with pytest.raises(error) as raised:
        cell(x, state)
    assert str(raised.value).startswith(text)


@pytest.mark.parametrize("make", [LSTMBlockCell, LSTMBlockFusedCell])
def test_float64_is_refused_before_anything_is_built(make):
    text = "Value for attr 'T' of double is not in the list of allowed values: half, float"
    with pytest.raises(InvalidArgumentError, match=text):
        make(H, dtype="float64")
    layer = make(H)
    fused = make is LSTMBlockFusedCell
    x = np.ones((T, N, WIDTH)) if fused else np.ones((N, WIDTH))
    with pytest.raises(InvalidArgumentError, match=text):
        layer(x, (np.ones((N, H)), np.ones((N, H))))
    assert not layer.built
    assert layer.weights == []


@pytest.mark.parametrize(("make", "axis"), [(LSTMBlockCell, 1), (LSTMBlockFusedCell, 2)])
@pytest.mark.parametrize("depth", [0, None])
def test_depth_must_be_known(make, axis, depth):
    with pytest.raises(ValueError, match=rf"^Expecting inputs_shape\[{axis}\] to be set: "):
        make(H).build((2,) * axis + (depth,))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({}, ValueError, "Either initial_state or dtype needs to be specified"),
        (
            {"initial_state": STATE[:1]},
            ValueError,
            "Expecting initial_state to be a tuple with length 2 or None",
        ),
        (
            {"initial_state": (STATE[0][:2], STATE[1])},
            ValueError,
            "cs_prev.dims(0) != batch_size: 2 vs. 3",
        ),
        ({"dtype": F32, "sequence_length": [7, 1, 1]}, ValueError, "seq_lens(0) > input.dims(0)"),
        ({"dtype": F32, "sequence_length": [1, 1, -1]}, ValueError, "seq_lens(2) < 0"),
        ({"dtype": F32, "sequence_length": [1, 1]}, ValueError, "Number of batches of 'then' must"),
        ({"dtype": "int32"}, ValueError, "RNN cell only supports floating point inputs"),
    ],
)
def test_fused_cell_refuses(arguments, error, text):
    with pytest.raises(error) as raised:
        LSTMBlockFusedCell(H)(draw(T, N, WIDTH), **arguments)
    assert str(raised.value).startswith(text)


def test_fused_cell_is_no_rnn_cell_and_takes_no_list():
    with pytest.raises(TypeError, match="is not an RNNCell"):
        dynamic_rnn(LSTMBlockFusedCell(H), draw(N, T, WIDTH), dtype=F32)
    with pytest.raises(ValueError, match="expects 1 input"):
        LSTMBlockFusedCell(H)(list(draw(T, N, WIDTH)), dtype=F32)
