"""Whether an installed lstmcore works: what every wheel must pass where it was just installed.

Needs NumPy and the wheel, no other file, no pytest: ``python test_smoke.py`` runs it too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np

import lstmcore
from lstmcore import _core

FMA_LEVELS = ("avx2", "avx512", "neon")


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def steps_in_numpy(kernel, bias, x, c, h, forget_bias):
    """LSTM over x [time, batch, depth] in float64, gates in the order i, j, f, o."""
    outputs = []
    for x_t in x.astype(np.float64):
        i, j, f, o = np.split(np.concatenate([x_t, h], axis=1) @ kernel + bias, 4, axis=1)
        c = sigmoid(f + forget_bias) * c + sigmoid(i) * np.tanh(j)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs), c, h


def cell_and_inputs(dtype, units=37, depth=19, steps=11, batch=5):
    rng = np.random.default_rng(2018)
    cell = lstmcore.LSTMCell(units, forget_bias=0.75, dtype=dtype)
    cell.build(depth)
    kernel = rng.uniform(-0.4, 0.4, (depth + units, 4 * units)).astype(dtype)
    bias = rng.uniform(-0.4, 0.4, 4 * units).astype(dtype)
    cell.set_weights([kernel, bias])
    x = rng.normal(size=(steps, batch, depth)).astype(dtype)
    c, h = rng.normal(size=(2, batch, units)).astype(dtype)
    return cell, kernel, bias, x, c, h


def test_the_equations_hold():
    for dtype, bound in ((np.float32, 2e-6), (np.float64, 1e-13)):
        cell, kernel, bias, x, c, h = cell_and_inputs(dtype)
        outputs, state = lstmcore.dynamic_rnn(
            cell, x, initial_state=lstmcore.LSTMStateTuple(c, h), time_major=True
        )
        expected = steps_in_numpy(kernel, bias, x, c, h, 0.75)
        for got, wanted in zip((outputs, *state), expected, strict=True):
            assert got.dtype == dtype
            assert np.abs(got - wanted).max() < bound


def test_bits_do_not_depend_on_batch_threads_or_calls():
    cell, _, _, x, c, h = cell_and_inputs(np.float32, units=256, depth=130, steps=20, batch=32)
    before = lstmcore.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 5):  # more than there may be: shares are computed all the same
            lstmcore.set_num_threads(threads)
            twin = lstmcore.LSTMCell(256, forget_bias=0.75, dtype=np.float32)
            twin.build(130)
            twin.set_weights(cell.get_weights())  # packed anew, by all threads
            state = lstmcore.LSTMStateTuple(c, h)
            outputs, _ = lstmcore.dynamic_rnn(twin, x, initial_state=state, time_major=True)
            found.append(outputs)
    finally:
        lstmcore.set_num_threads(before)
    assert all(np.array_equal(found[0], other) for other in found[1:])
    row = lstmcore.LSTMStateTuple(c[7:8], h[7:8])
    for t in range(20):
        output, row = cell(x[t, 7:8], row)
        assert np.array_equal(output[0], found[0][t, 7])


def test_stream_and_model():
    model = lstmcore.LSTM(7, 13, num_layers=2)
    x = np.random.default_rng(3).normal(size=(1, 9, 7)).astype(np.float32)
    whole = model(x)[0]
    stream = lstmcore.Stream(model)
    parts = [stream.step(x[0, 0]), *stream.push(x[0, 1:6]), *stream.push(x[0, 6:])]
    assert np.array_equal(np.stack(parts), whole)


def test_wrong_input_is_named():
    message = None
    try:
        lstmcore.LSTM(7, 13)(np.zeros((2, 4, 6), np.float32))
    except ValueError as error:
        message = str(error)
    assert message is not None, "an input of the wrong width was taken"
    assert "7" in message, message
    assert "6" in message, message


def child(*arguments, **env):
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **env},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


BITS = """
import hashlib, numpy as np, lstmcore
cell = lstmcore.LSTMCell(33, use_peepholes=True, num_proj=7, forget_bias=0.75, dtype=np.float32)
cell.build(19)
rng = np.random.default_rng(4)
cell.set_weights([rng.uniform(-0.5, 0.5, w.shape) for w in cell.weights])
x = rng.normal(size=(7, 23, 19)).astype(np.float32)
outputs, _ = lstmcore.dynamic_rnn(cell, x, dtype=np.float32, time_major=True)
print(hashlib.sha256(outputs.tobytes()).hexdigest())
"""


def test_every_instruction_set_of_this_machine():
    levels = _core.info()["isa_found"]
    bits = {level: child("-c", BITS, LSTMCORE_FORCE_ISA=level) for level in levels}
    assert len({bits[level] for level in levels if level in FMA_LEVELS}) <= 1


def test_commands():
    report = json.loads(child("-m", "lstmcore", "info", "--json"))
    assert report["lstmcore"] == lstmcore.__version__
    assert report["cpu"]["isa"] in report["build"]["isa_compiled"]
    assert len(child("-m", "lstmcore", "demo", "--length", "20")) > 20


if __name__ == "__main__":
    tests = {name: value for name, value in globals().items() if name.startswith("test_")}
    for test in tests.values():
        test()
    print(f"{len(tests)} smoke tests passed at {_core.info()['isa']}")
