"""One native object used by many Python threads, and what limits the threads it starts."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import core_cases
import subprocesses
from lstmcore import _core


def test_many_threads_share_one_object() -> None:
    """Eight threads run different batches through one object; each gets what it gets alone."""
    shared = core_cases.make(rows=1, inputs=40, units=90, proj=21, peepholes=True).native()
    start = threading.Barrier(8)

    def inputs(worker: int) -> np.ndarray:
        return core_cases.make(rows=1 + worker, steps=6, inputs=40, units=90, seed=worker).x

    def work(worker: int) -> list[bytes]:
        start.wait()
        x = inputs(worker)
        results = []
        for _ in range(15):
            for a in shared.forward(x):
                results.append(a.tobytes())
            state = shared.step(x[:, 0].copy(), *shared.forward(x)[1:])
            results.append(state[0].tobytes())
        return results

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(work, range(8)))
    for worker, results in enumerate(together):
        alone = [a.tobytes() for a in shared.forward(inputs(worker))]
        assert results[:3] == alone
        assert results == results[:4] * 15


def test_calls_release_the_gil() -> None:
    """Python code makes progress while one long call runs."""
    problem = core_cases.make(rows=4, steps=400, inputs=200, units=300)
    native = problem.native()
    done = threading.Event()
    counts: list[int] = []

    def count() -> None:
        n = 0
        while not done.is_set():
            n += 1
        counts.append(n)

    started = threading.Event()

    def call() -> None:
        started.set()
        native.forward(problem.x, threads=1)
        done.set()

    counter, caller = threading.Thread(target=count), threading.Thread(target=call)
    caller.start()
    started.wait()
    counter.start()
    caller.join()
    counter.join()
    assert counts[0] > 100


def test_set_num_threads() -> None:
    before = _core.get_num_threads()
    try:
        _core.set_num_threads(3)
        assert _core.get_num_threads() == 3
        assert _core.info()["threads"] == 3
        assert _core.info()["threads_reason"] == "set_num_threads"
        for bad in (0, -2):
            with pytest.raises(ValueError, match=f"threads must be at least 1, got {bad}"):
                _core.set_num_threads(bad)
        assert _core.get_num_threads() == 3
    finally:
        _core.set_num_threads(before)


@pytest.mark.parametrize("name", ["LSTMCORE_NUM_THREADS", "OMP_NUM_THREADS"])
def test_environment_limits_threads(name: str) -> None:
    code = "from lstmcore import _core; i = _core.info(); print(i['threads'], i['threads_reason'])"
    child = subprocesses.run("-c", code, **{name: "1"})
    threads, reason = child.stdout.split(maxsplit=1)
    assert threads == "1"
    if len(os.sched_getaffinity(0)) > 1:
        assert reason.strip() in (name, "cgroup CPU quota", "OMP_NUM_THREADS")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_still_works() -> None:
    """OpenMP's workers do not survive a fork; the child runs serially instead of waiting."""
    code = """
import os, warnings, core_cases
from lstmcore import _core
warnings.simplefilter("ignore")
_core.set_num_threads(2)
problem = core_cases.make(rows=12, steps=20, inputs=100, units=120)
native = problem.native()
expected = native.forward(problem.x, threads=2)[0].tobytes()
pid = os.fork()
if pid == 0:
    os._exit(0 if native.forward(problem.x)[0].tobytes() == expected else 3)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    child = subprocesses.run("-c", code)
    assert child.stdout.strip() == "0", child.stderr
