"""Python objects shared by threads: first calls, assigned weights, and forks meanwhile."""

import os
import sys
import threading
import time

import numpy as np
import pytest

import lstmcore
import subprocesses

X = np.linspace(-1, 1, 10, dtype=np.float32).reshape(2, 5)


@pytest.fixture(autouse=True)
def _switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def first_calls(cell, graph, threads=8):
    """The outputs of ``threads`` threads that call the unbuilt cell at once."""
    state = cell.zero_state(len(X), np.float32)
    start = threading.Barrier(threads)
    outputs = []

    def call():
        with graph.as_default():
            start.wait()
            outputs.append(cell(X, state)[0])

    workers = [threading.Thread(target=call) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(outputs) == threads
    return outputs


@pytest.mark.parametrize("activation", ["tanh", np.sin])
def test_first_calls_of_a_shared_stack_build_it_once(activation):
    for _ in range(15):
        graph = lstmcore.Graph()
        with graph.as_default():
            inner = [lstmcore.BasicLSTMCell(5, activation=activation) for _ in range(2)]
            stack = lstmcore.MultiRNNCell(inner)
        outputs = first_calls(stack, graph)
        assert [variable.name for variable in stack.weights] == [
            f"multi_rnn_cell/cell_{level}/basic_lstm_cell/{name}:0"
            for level in range(2)
            for name in ("kernel", "bias")
        ]
        assert all(np.array_equal(output, outputs[0]) for output in outputs)


def test_a_call_meanwhile_waits_for_the_weights_of_the_constructor():
    state = np.ones((2, 4), np.float32)
    outputs = []

    class CalledMeanwhile(lstmcore.BasicLSTMCell):
        def set_weights(self, weights):
            other.start()
            other.join(0.2)
            super().set_weights(weights)

    cell = CalledMeanwhile(4, weights=[np.full((5 + 4, 16), 0.01), np.full(16, 0.2)])
    other = threading.Thread(target=lambda: outputs.append(cell(X, (state, state))[0]))
    expected = cell(X, (state, state))[0]
    other.join()
    np.testing.assert_array_equal(outputs[0], expected)


def test_assign_while_others_share_the_variable():
    graph, stop = lstmcore.Graph(), threading.Event()

    def shared():
        with graph.as_default(), lstmcore.variable_scope("s", reuse=lstmcore.AUTO_REUSE):
            cell = lstmcore.BasicLSTMCell(4, name="c")
            cell(X, cell.zero_state(2, np.float32))
        return cell

    def make():
        kept = []
        while not stop.is_set():
            kept = [*kept[-200:], shared()]

    cell = shared()
    makers = [threading.Thread(target=make) for _ in range(2)]
    for maker in makers:
        maker.start()
    try:
        end, kernel = time.monotonic() + 1.5, cell.weights[0]
        while time.monotonic() < end:
            kernel.assign(np.full(kernel.shape, np.random.default_rng().uniform()))
    finally:
        stop.set()
        for maker in makers:
            maker.join()


def test_a_step_ends_while_another_thread_assigns(monkeypatch):
    """Every packing finds the weights assigned again, as with a thread that does nothing else."""
    cell = lstmcore.BasicLSTMCell(4)
    state = cell.zero_state(2, np.float32)
    cell(X, state)
    kernel, bias = cell.weights
    pack, packed = lstmcore._core.Lstm, []

    def assigned_meanwhile(*args, **kwargs):
        assert len(packed) < 3, "packs again and again"
        packed.append(pack(*args, **kwargs))
        bias.assign(np.full(bias.shape, len(packed)))
        return packed[-1]

    monkeypatch.setattr(lstmcore._core, "Lstm", assigned_meanwhile)
    kernel.assign(np.full(kernel.shape, 0.5))
    first, second = cell(X, state)[0], cell(X, state)[0]
    assert len(packed) == 2
    assert not np.array_equal(first, second)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_while_another_thread_builds_and_assigns():
    code = """
import os, signal, threading, warnings
import numpy as np
import lstmcore
warnings.simplefilter("ignore")
x = np.ones((2, 8), "f")
shared = lstmcore.BasicLSTMCell(8)
shared(x, shared.zero_state(2, "f"))

def use():
    shared.weights[1].assign(np.ones(32))
    with lstmcore.Graph().as_default():
        cell = lstmcore.BasicLSTMCell(8)
        cell(x, shared(x, cell.zero_state(2, "f"))[1])

stop = threading.Event()
def work():
    while not stop.is_set():
        use()

workers = [threading.Thread(target=work) for _ in range(2)]
for worker in workers:
    worker.start()
codes = set()
for _ in range(60):
    pid = os.fork()
    if not pid:
        signal.alarm(5)
        use()
        os._exit(0)
    codes.add(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    if codes != {0}:
        break
stop.set()
print(codes)
"""
    child = subprocesses.run("-c", code)
    assert child.stdout.strip() == "{0}", child.stderr
