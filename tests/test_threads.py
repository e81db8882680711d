"""One native object used by many Python threads, and what limits the threads it starts."""

from __future__ import annotations

import os
import threading
import time
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
    """Another thread ticks on while a long call runs: no pause is nearly as long as the call."""
    problem = core_cases.make(rows=4, steps=2000, inputs=200, units=300)
    native = problem.native()
    done = threading.Event()
    ticks: list[float] = []

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.perf_counter())

    ticker = threading.Thread(target=tick)
    ticker.start()
    begun = time.perf_counter()
    native.forward(problem.x, threads=1)
    ended = time.perf_counter()
    done.set()
    ticker.join()
    during = [begun, *(at for at in ticks if begun < at < ended), ended]
    assert max(np.diff(during)) < 0.5 * (ended - begun)


def test_set_num_threads() -> None:
    before = _core.get_num_threads()
    try:
        _core.set_num_threads(3)
        assert _core.get_num_threads() == 3
        assert _core.info()["threads"] == 3
        assert _core.info()["threads_reason"] == "set_num_threads"
        for bad in (0, -2, 1025):
            with pytest.raises(ValueError, match=f"threads must be in 1..1024, got {bad}"):
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


def test_a_child_forked_beside_another_openmp_user_still_works() -> None:
    """The workers that do not survive may be those of another library on the same runtime."""
    code = """
import ctypes, os, core_cases
from lstmcore import _core
gomp = ctypes.CDLL("libgomp.so.1")
region = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
gomp.GOMP_parallel(region, None, 2, 0)
_core.set_num_threads(2)
problem = core_cases.make(rows=12, steps=20, inputs=100, units=120)
native = problem.native()
pid = os.fork()
if pid == 0:
    native.forward(problem.x)
    os._exit(0 if _core.info()["threads_reason"] == "forked child" else 3)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    child = subprocesses.run("-c", code)
    assert child.stdout.strip() == "0", child.stderr


@pytest.mark.parametrize("value", ["abc", "0", "-3", "2x"])
def test_a_thread_limit_that_is_no_number_is_reported(value: str) -> None:
    code = "from lstmcore import _core; print(_core.info()['threads_reason'])"
    reason = subprocesses.run("-c", code, LSTMCORE_NUM_THREADS=value).stdout
    assert f"ignored LSTMCORE_NUM_THREADS='{value}', not a positive number" in reason
