"""How many threads calls may use: of the process, in a ``with`` block, of one call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import threadpoolctl

import lstmcore
import subprocesses
from lstmcore import get_num_threads, num_threads_reason, set_num_threads, threads

X = np.linspace(-1, 1, 3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
OFFSETS = np.array([0, 4, 8, 12])


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = get_num_threads()
    yield
    set_num_threads(before)


def built(units: int) -> Any:
    cell = lstmcore.LSTMCell(units)
    with lstmcore.Graph().as_default():
        cell(X[:, 0], cell.zero_state(3, np.float32))
    return cell


def paths() -> dict[str, Callable[..., Any]]:
    """Every function with a ``threads`` argument, over small inputs."""
    cell, model = built(6), lstmcore.LSTM(5, 6, bidirectional=True, seed=1)
    stream, bank, out = lstmcore.Stream(cell), lstmcore.StreamBank(cell), np.empty(6, np.float32)
    bank.join()

    def in_one_graph(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(**keywords: Any) -> Any:
            with lstmcore.Graph().as_default():
                return call(**keywords)

        return run

    def both(**keywords: Any) -> Any:
        return lstmcore.bidirectional_dynamic_rnn(
            built(6), built(7), X, dtype=np.float32, **keywords
        )

    def stacked(**keywords: Any) -> Any:
        cells = ([lstmcore.LSTMCell(4)], [lstmcore.LSTMCell(4)])
        return lstmcore.stack_bidirectional_dynamic_rnn(*cells, X, dtype=np.float32, **keywords)

    return {
        "LSTM": lambda **k: model(X, **k),
        "dynamic_rnn": lambda **k: lstmcore.dynamic_rnn(cell, X, dtype=np.float32, **k),
        "bidirectional_dynamic_rnn": in_one_graph(both),
        "stack_bidirectional_dynamic_rnn": in_one_graph(stacked),
        "packed_rnn": lambda **k: lstmcore.packed_rnn(cell, X.reshape(12, 5), OFFSETS, **k),
        "Stream.step": lambda **k: stream.step(X[0, 0], **k),
        "Stream.step_into": lambda **k: stream.step_into(X[0, 0], out, **k),
        "Stream.push": lambda **k: stream.push(X[0], **k),
        "StreamBank.step": lambda **k: bank.step(X[:1, 0], **k),
        "set_num_threads": lambda threads=2: set_num_threads(threads),
        "threads": lambda threads=2: lstmcore.threads(threads),
    }


BAD = (
    (0, ValueError, "threads must be in 1..1024, got 0"),
    (-3, ValueError, "threads must be in 1..1024, got -3"),
    (1025, ValueError, "threads must be in 1..1024, got 1025"),
    (10**5000, ValueError, "threads must be in 1..1024, got a number of many digits"),
    (True, TypeError, "threads must be an integer, got True"),
    (np.True_, TypeError, "threads must be an integer, got"),
    (2.0, TypeError, "threads must be an integer, got 2.0 of type float"),
    ("2", TypeError, "threads must be an integer, got '2'"),
)


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize(
    "case", BAD, ids=("0", "-3", "1025", "huge", "True", "np.True_", "2.0", "str")
)
def test_bad_numbers_are_refused_everywhere(path: str, case: tuple[Any, Any, str]) -> None:
    bad, error, message = case
    before = get_num_threads()
    with pytest.raises(error, match=message):
        paths()[path](threads=bad)
    assert get_num_threads() == before


@pytest.mark.parametrize("path", paths())
def test_good_numbers(path: str) -> None:
    for good in (1, np.int32(2), 1024):
        paths()[path](threads=good)
    paths()[path]()


def test_the_default_is_none() -> None:
    for path, call in paths().items():
        if path not in ("set_num_threads", "threads"):
            call(threads=None)


def test_a_block_nests_and_ends() -> None:
    set_num_threads(5)
    with threads(3):
        assert (get_num_threads(), num_threads_reason()) == (3, "set for this thread")
        with pytest.raises(KeyError), threads(7):
            assert get_num_threads() == 7
            raise KeyError
        assert get_num_threads() == 3
        set_num_threads(4)  # for the other threads, and for this one afterwards
        assert get_num_threads() == 3
    assert (get_num_threads(), num_threads_reason()) == (4, "set_num_threads")


def test_a_call_within_a_block_only_lowers() -> None:
    seen = []

    class Cell(lstmcore.RNNCell):  # its step tells what native calls in it would use
        state_size = output_size = 1

        def call(self, inputs: Any, state: Any) -> Any:
            seen.append(get_num_threads())
            return state, state

    def run(limit: int | None) -> int:
        seen.clear()
        lstmcore.dynamic_rnn(Cell(), X, dtype=np.float32, threads=limit)
        return min(seen)

    set_num_threads(5)
    assert [run(limit) for limit in (None, 3, 9)] == [5, 3, 5]
    with threads(2):
        assert [run(limit) for limit in (None, 1, 9)] == [2, 1, 2]
    assert get_num_threads() == 5


def test_blocks_of_several_threads_do_not_meet() -> None:
    """Blocks that overlap in every order leave what was before, and each thread has its own."""
    set_num_threads(9)
    inside = threading.Barrier(6)
    seen, errors = {}, []

    def work(number: int) -> None:
        try:
            for _ in range(50):
                inside.wait()
                with threads(number):
                    inside.wait()
                    seen.setdefault(number, set()).add(get_num_threads())
                    if number % 2:
                        inside.wait()
                if not number % 2:
                    inside.wait()
                assert get_num_threads() == 9
        except BaseException as error:
            errors.append(error)
            inside.abort()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(1, 7)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors
    assert seen == {number: {number} for number in range(1, 7)}


def entry() -> dict[str, Any]:
    (found,) = (i for i in threadpoolctl.threadpool_info() if i["user_api"] == "lstmcore")
    return found


def test_threadpoolctl_sees_and_limits() -> None:
    lstmcore.register_threadpoolctl()
    lstmcore.register_threadpoolctl()
    set_num_threads(6)
    found = entry()
    assert found["num_threads"] == 6
    assert found["version"] == lstmcore.__version__
    assert found["filepath"] == lstmcore._core.__file__
    with threadpoolctl.threadpool_limits(limits=1):
        assert entry()["num_threads"] == get_num_threads() == 1
        with threadpoolctl.threadpool_limits(limits={"lstmcore": 3}):
            assert get_num_threads() == 3
    assert entry()["num_threads"] == get_num_threads() == 6
    with threads(2):  # about this thread; what threadpoolctl shows and sets is the process's
        assert entry()["num_threads"] == 6
        with threadpoolctl.threadpool_limits(limits=1):
            assert get_num_threads() == 2
    assert get_num_threads() == 6


def test_threadpoolctl_is_not_imported_but_noticed() -> None:
    code = """
import sys
import lstmcore
lstmcore.LSTM, lstmcore.Stream
assert "threadpoolctl" not in sys.modules
import threadpoolctl
count = lambda: sum(i["user_api"] == "lstmcore" for i in threadpoolctl.threadpool_info())
assert count() == 0
lstmcore.register_threadpoolctl()
assert count() == 1
"""
    subprocesses.run_limited(60, "-c", code)
    code = """
import threadpoolctl
import lstmcore
(mine,) = (i for i in threadpoolctl.threadpool_info() if i["user_api"] == "lstmcore")
assert mine["num_threads"] == 1
"""
    subprocesses.run_limited(60, "-c", code, LSTMCORE_NUM_THREADS="1")


WAYS = {
    "LSTM": "model(x, threads=n)",
    "dynamic_rnn": "lstmcore.dynamic_rnn(cell, x, dtype=np.float32, threads=n)",
    "packed_rnn": "lstmcore.packed_rnn(cell, x.reshape(720, 64), np.arange(0, 721, 30), threads=n)",
    "Stream.step": "stream.step(steps[0], threads=n)",
    "Stream.step_into": "stream.step_into(steps[0], np.empty((24, 200), np.float32), threads=n)",
    "Stream.push": "stream.push(steps, threads=n)",
    "StreamBank.step": "bank.step(steps[0], threads=n)",
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_limit_limits(way: str) -> None:
    """Threads of the process are counted: calls on one start none, the first on three two."""
    code = f"""
import os
import numpy as np
import lstmcore
x, steps = np.ones((24, 30, 64), np.float32), np.ones((30, 24, 64), np.float32)
tasks = lambda: len(os.listdir("/proc/self/task"))
lstmcore.set_num_threads(1)
cell = lstmcore.LSTMCell(200)
cell(x[:, 0], cell.zero_state(24, np.float32))
stream, bank = lstmcore.Stream(cell, batch_size=24), lstmcore.StreamBank(cell)
for _ in range(24):
    bank.join()
model = lstmcore.LSTM(64, 200)
before = tasks()
call = lambda n: {WAYS[way]}
lstmcore.set_num_threads(3)
call(1)
with lstmcore.threads(1):
    call(None)
    call(3)
assert tasks() == before, tasks()
call(None)
assert tasks() == before + 2, tasks()
"""
    subprocesses.run_limited(60, "-c", code)


def test_nothing_of_the_caller_is_changed() -> None:
    """OpenMP's numbers, the affinity of all threads and the signal mask of the calling one."""
    code = """
import ctypes, os, signal
import numpy as np
try:
    gomp = ctypes.CDLL("libgomp.so.1")
except OSError:
    gomp = None
names = ("omp_get_max_threads", "omp_get_dynamic", "omp_get_thread_limit", "omp_get_num_procs")
numbers = lambda: [getattr(gomp, name)() for name in names] if gomp else None
masks = lambda: {tuple(os.sched_getaffinity(int(t))) for t in os.listdir("/proc/self/task")}
before, affinity, signals = numbers(), masks(), signal.pthread_sigmask(signal.SIG_BLOCK, [])
import lstmcore
def use():
    model = lstmcore.LSTM(256, 300, 2, bidirectional=True)
    model(np.ones((16, 20, 256), np.float32))
lstmcore.set_num_threads(4)
use()
with lstmcore.threads(2):
    use()
assert len(os.listdir("/proc/self/task")) >= 4
assert (numbers(), masks()) == (before, affinity), (numbers(), masks(), before, affinity)
assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == signals
"""
    subprocesses.run_limited(60, "-c", code)


def test_affinity_limits() -> None:
    code = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import lstmcore
print(lstmcore.get_num_threads(), lstmcore.num_threads_reason())
"""
    environment = {"OMP_NUM_THREADS": "", "LSTMCORE_NUM_THREADS": ""}
    assert subprocesses.run_limited(60, "-c", code, **environment) == "1 CPU affinity\n"
