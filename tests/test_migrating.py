"""docs/migrating.md: its blocks run, and what they promise holds."""

from __future__ import annotations

import re

import numpy as np
import pytest

import checkpoint_writer
import lstmcore
import pages
from lstmcore.variables.graph import Graph
from restore_cases import cell_tensors

SCOPE = "rnnlm/rnn/basic_lstm_cell"


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture(scope="module")
def stored():
    random = np.random.default_rng(6)
    return {
        **cell_tensors(SCOPE, inputs=32, units=48),
        "rnnlm/embedding": random.standard_normal((65, 32), np.float32),
        "rnnlm/softmax_w": random.standard_normal((48, 65), np.float32),
    }


@pytest.fixture(scope="module")
def page(stored, tmp_path_factory):
    """The names that the blocks leave behind, run one after the other."""
    folder = tmp_path_factory.mktemp("migrating")
    checkpoint_writer.write(folder / "char.ckpt-2000", stored)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        graph = Graph()
        after = pages.run("docs/migrating.md", graph=graph)
        with graph.as_default():
            whole, _ = after[-1]["model"]([[1, 5, 2, 9, 4, 7]])
    return {**after[-1], "after": after, "whole": whole}


def test_the_model_is_the_one_of_the_checkpoint(page, stored):
    first = page["after"][0]
    cell = lstmcore.BasicLSTMCell(48, name="own")
    with Graph().as_default():
        cell.build([None, 32])
        cell.set_weights([stored[f"{SCOPE}/kernel"], stored[f"{SCOPE}/bias"]])
        inputs = stored["rnnlm/embedding"][[[1, 5, 2]]]
        outputs, _ = lstmcore.dynamic_rnn(cell, inputs, dtype="float32")
    logits = outputs[0] @ stored["rnnlm/softmax_w"]
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(first["p"], expected, rtol=1e-4, atol=1e-7)


def test_pieces_give_what_the_whole_gives(page):
    pieces = page["pieces"]
    assert [len(piece) for piece in pieces] == [2, 3, 1]
    np.testing.assert_allclose(np.concatenate(pieces), page["whole"], rtol=1e-5, atol=1e-9)


def test_restored_cells_have_the_weights_of_the_file(page, stored):
    by_scope, by_tensors = page["after"][2]["cell"], page["after"][3]["cell"]
    assert by_scope is not by_tensors
    assert by_tensors.get_config()["forget_bias"] == 1.0
    for cell in (by_scope, by_tensors):
        for variable, name in zip(cell.weights, ("kernel", "bias"), strict=True):
            np.testing.assert_array_equal(variable, stored[f"{SCOPE}/{name}"])


def test_before_and_after_build_the_same_variables():
    before, after = (pages.blocks("docs/migrating.md", kind)[0] for kind in ("text", "python"))
    pattern = r"get_variable\(.*\)|BasicLSTMCell\(.*\)"
    made = [re.findall(pattern, text) for text in (before, after)]
    assert made[0] == made[1]
    assert len(made[0]) == 3


def test_weights_from_torch_and_keras(page):
    random = np.random.default_rng(8)
    inputs, units = 3, 5
    shapes = {
        "weight_ih": (4 * units, inputs),
        "weight_hh": (4 * units, units),
        "bias_ih": (4 * units,),
        "bias_hh": (4 * units,),
    }
    weights = {
        f"{name}_l0_reverse": random.standard_normal(shape, np.float32)
        for name, shape in shapes.items()
    }
    w_ih, w_hh, b_ih, b_hh = weights.values()
    with Graph().as_default():
        from_torch = page["cell_from_torch"](weights, "l0_reverse")
        from_keras = page["cell_from_keras"]([w_ih.T, w_hh.T, b_ih + b_hh])
    x = random.standard_normal((2, inputs), np.float32)
    c, h = random.standard_normal((2, 2, units), np.float32)
    # the equations of torch.nn.LSTM's documentation
    i, f, g, o = np.split(x @ w_ih.T + b_ih + h @ w_hh.T + b_hh, 4, axis=1)
    new_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    for cell in (from_torch, from_keras):
        output, state = cell(x, lstmcore.LSTMStateTuple(c, h))
        np.testing.assert_allclose(state.c, new_c, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(output, sigmoid(o) * np.tanh(new_c), rtol=1e-5, atol=1e-6)
