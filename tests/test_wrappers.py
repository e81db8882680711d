"""ResidualWrapper, DropoutWrapper, DeviceWrapper: results, names, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import reference
import tolerances
from lstmcore.cells.dropout_wrapper import DropoutWrapper
from lstmcore.cells.lstm_cells import LSTMCell
from lstmcore.cells.wrappers import DeviceWrapper, ResidualWrapper
from lstmcore.rnn.dynamic import dynamic_rnn
from wrapper_cases import F32, LIMIT, NOT_A_CELL, WIDTH, Doubler, N, T, draw, exact, states


def test_residual_adds_the_inputs():
    cell = LSTMCell(WIDTH)
    residual = ResidualWrapper(cell)
    x, (state,) = draw(N, WIDTH), states(WIDTH)
    output, new_state = residual(x, state)
    wanted_c, wanted_h = reference.step(exact(cell), x, *state)
    assert tolerances.error(output, wanted_h + x) <= LIMIT
    assert tolerances.error(new_state.h, wanted_h) <= LIMIT
    assert tolerances.error(new_state.c, wanted_c) <= LIMIT
    np.testing.assert_array_equal(residual.call(x, state)[0], output)


@pytest.mark.parametrize("time_major", [False, True])
def test_residual_sequence_keeps_padding_zero(time_major):
    cell = LSTMCell(WIDTH)
    x, lengths = draw(N, T, WIDTH), np.array([5, 0, 2])
    x[2, 2:] = np.nan
    given = x.transpose(1, 0, 2) if time_major else x
    outputs, _ = dynamic_rnn(
        ResidualWrapper(cell), given, lengths, dtype=F32, time_major=time_major
    )
    wanted = reference.forward(exact(cell), x, lengths=lengths).y
    live = np.arange(T) < lengths[:, None]
    wanted[live] += x[live]
    assert tolerances.error(outputs.transpose(1, 0, 2) if time_major else outputs, wanted) <= LIMIT
    assert not (outputs[2:, 2] if time_major else outputs[2, 2:]).any()


def test_residual_fn_runs_per_step():
    seen = []

    def difference(inputs, outputs):
        seen.append(inputs.shape)
        return outputs - 2 * inputs

    x = draw(N, T, WIDTH)
    cell = LSTMCell(WIDTH)
    outputs, _ = dynamic_rnn(ResidualWrapper(cell, residual_fn=difference), x, [5, 4, 2], dtype=F32)
    assert seen == [(N, WIDTH)] * T
    wanted = reference.forward(exact(cell), x, lengths=np.array([5, 4, 2])).y - 2 * x
    wanted[1, 4:] = wanted[2, 2:] = 0
    assert tolerances.error(outputs, wanted) <= LIMIT


def test_residual_refuses_another_width_before_building():
    residual = ResidualWrapper(LSTMCell(6))
    with pytest.raises(ValueError, match=r"^Shapes \(3, 4\) and \(3, 6\) are incompatible"):
        residual(draw(N, WIDTH), states(6)[0])
    with pytest.raises(ValueError, match=r"^Shapes \(3, 4\) and \(3, 6\) are incompatible"):
        dynamic_rnn(residual, draw(N, T, WIDTH), dtype=F32)
    assert not residual.cell.built
    with pytest.raises(TypeError, match=r"residual_fn must be callable. Received: 5"):
        ResidualWrapper(LSTMCell(6), residual_fn=5)


@pytest.mark.parametrize("keep", [0.3, 1.0, 1, True, np.float64(0.5), np.array(0.5), [0.5]])
def test_dropout_does_nothing_at_inference(keep):
    cell = LSTMCell(6)
    wrapper = DropoutWrapper(
        cell, input_keep_prob=keep, output_keep_prob=keep, state_keep_prob=keep
    )
    x, (state,) = draw(N, WIDTH), states(6)
    output, new_state = wrapper(x, state)
    wanted, wanted_state = cell(x, state)
    np.testing.assert_array_equal(output, wanted)
    np.testing.assert_array_equal(new_state.c, wanted_state.c)
    assert wrapper.wrapped_cell is cell


@pytest.mark.parametrize("argument", ["input_keep_prob", "output_keep_prob", "state_keep_prob"])
@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.5, ValueError, "Parameter {} must be between 0 and 1. Received 1.5"),
        (-0.1, ValueError, "Parameter {} must be between 0 and 1. Received -0.1"),
        (2, ValueError, "Parameter {} must be between 0 and 1. Received 2"),
        (np.nan, ValueError, "Parameter {} must be between 0 and 1. Received nan"),
        (None, ValueError, "Parameter {} must be between 0 and 1. Received None"),
        ("a", TypeError, "Parameter {} must be a number. Received 'a'"),
        (
            0.0,
            ValueError,
            "`rate` must be a scalar tensor or a float in the range [0, 1). Received: rate=1.0 "
            "({} must be above 0. Received 0.0)",
        ),
    ],
)
def test_dropout_refuses_probabilities(argument, value, error, text):
    with pytest.raises(error) as raised:
        DropoutWrapper(LSTMCell(2), **{argument: value})
    assert str(raised.value) == text.format(argument)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (
            {"dropout_state_filter_visitor": 3},
            TypeError,
            "dropout_state_filter_visitor must be callable. Received: 3",
        ),
        (
            {"variational_recurrent": True},
            ValueError,
            "When variational_recurrent=True, dtype must be provided",
        ),
        (
            {"variational_recurrent": True, "dtype": F32, "input_keep_prob": 0.5},
            ValueError,
            "When variational_recurrent=True and input_keep_prob < 1.0 or is unknown, input_size "
            "must be provided",
        ),
    ],
)
def test_dropout_refuses_options(arguments, error, text):
    with pytest.raises(error) as raised:
        DropoutWrapper(LSTMCell(2), **arguments)
    assert str(raised.value) == text


def test_unknown_keyword():
    with pytest.raises(TypeError) as raised:
        DropoutWrapper(LSTMCell(2), foo=1)
    assert raised.value.args == ("Keyword argument not understood:", "foo")


@pytest.mark.parametrize(
    "device",
    [
        "/cpu:0",
        "cpu:0",
        "",
        "/gpu",
        "/device:GPU:*",
        "/job:w/replica:0/task:1/device:CPU:0",
        None,
        lambda op: "/cpu:0",
    ],
)
def test_device_wrapper_checks_and_calls(device):
    cell = LSTMCell(6)
    wrapper = DeviceWrapper(cell, device)
    x, (state,) = draw(N, WIDTH), states(6)
    np.testing.assert_array_equal(wrapper(x, state)[0], cell(x, state)[0])
    assert wrapper.zero_state(N, F32).c.shape == (N, 6)


@pytest.mark.parametrize(
    ("device", "text"),
    [
        (
            "nonsense",
            "Unknown attribute 'nonsense' is encountered while parsing the device spec: "
            "'nonsense'.",
        ),
        (
            "/device:GPU",
            "Unknown attribute 'device' is encountered while parsing the device spec: "
            "'/device:GPU'.",
        ),
        (
            "/GPU:0/CPU:1",
            "Multiple device types are not allowed while parsing the device spec: /GPU:0/CPU:1.",
        ),
        ("/gpu:x", "invalid literal for int() with base 10: 'x'"),
        ("/task:x", "invalid literal for int() with base 10: 'x'"),
        (5, "Expecting a string device name. Got <class 'int'>(5)"),
    ],
)
def test_device_wrapper_refuses(device, text):
    with pytest.raises(ValueError) as raised:
        DeviceWrapper(LSTMCell(2), device)
    assert str(raised.value) == text


WRAPPERS = [ResidualWrapper, DropoutWrapper, lambda cell: DeviceWrapper(cell, "/cpu:0")]


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_wrappers_add_nothing_to_names(wrap):
    wrapper = wrap(LSTMCell(WIDTH))
    dynamic_rnn(wrapper, draw(N, T, WIDTH), dtype=F32)
    assert wrapper.weights == []
    assert [w.name for w in wrapper.cell.weights] == [
        "rnn/lstm_cell/kernel:0",
        "rnn/lstm_cell/bias:0",
    ]
    assert wrapper.name.endswith("_wrapper_1")
    assert wrapper.state_size == wrapper.cell.state_size


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_wrappers_refuse_what_is_no_cell(wrap):
    with pytest.raises(TypeError) as raised:
        wrap(5)
    assert str(raised.value) == NOT_A_CELL.format("cell")


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_wrapper_configs(wrap):
    config = wrap(LSTMCell(WIDTH)).get_config()
    assert config["cell"]["class_name"] == "LSTMCell"
    make = type(wrap(LSTMCell(WIDTH)))
    with pytest.raises(ValueError) as raised:
        make.from_config(config)
    assert str(raised.value) == (
        "RNNCellWrapper cannot reconstruct the wrapped cell. Please overwrite the cell in the "
        "config with a RNNCell instance."
    )
    again = make.from_config({**config, "cell": LSTMCell.from_config(config["cell"]["config"])})
    assert again.get_config() == config


def test_function_arguments_survive_the_config():
    dropout = DropoutWrapper(LSTMCell(WIDTH), dropout_state_filter_visitor=np.isnan, seed=4)
    residual = ResidualWrapper(LSTMCell(WIDTH), residual_fn=np.subtract)
    for wrapper in (dropout, residual):
        config = {**wrapper.get_config(), "cell": wrapper.cell}
        again = type(wrapper).from_config(config).get_config()
        assert {k: v for k, v in again.items() if k != "cell"} == {
            k: v for k, v in config.items() if k != "cell"
        }


def test_wrappers_around_a_cell_of_ones_own():
    x = draw(N, T, 4)
    outputs, state = dynamic_rnn(ResidualWrapper(Doubler()), x, dtype=F32)
    np.testing.assert_allclose(outputs, 3 * x + np.arange(T, dtype=F32)[None, :, None], rtol=1e-6)
    np.testing.assert_array_equal(state, np.full((N, 4), T, F32))
