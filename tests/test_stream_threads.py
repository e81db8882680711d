"""Streams and threads: two on one stream get an error or the right result, and forks are free."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import lstmcore
import stream_cases
from stream_cases import identical


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def run_together(*works: Callable[[], None]) -> None:
    start, errors = threading.Barrier(len(works)), []

    def run(work: Callable[[], None]) -> None:
        start.wait()
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def wide_case(steps: int = 40) -> stream_cases.Case:
    """Steps long enough for another thread to come between."""
    cells = [lstmcore.LSTMCell(160, num_proj=60), lstmcore.BasicLSTMCell(120)]
    return stream_cases.finished(
        lstmcore.MultiRNNCell(cells), rows=1, steps=steps, inputs=50, dtype="float32"
    )


def test_two_threads_on_one_stream() -> None:
    """Every step that was not refused counts once: with equal inputs the state tells how many."""
    case = wide_case()
    stream = lstmcore.Stream(case.cell)
    x = case.x[0, 0].copy()
    chunk = np.stack([x] * 5)
    counts = []

    def work() -> None:
        out = np.zeros(120, np.float32)
        ways = (
            (1, lambda: stream.step(x)),
            (1, lambda: stream.step_into(x, out)),
            (5, lambda: stream.push(chunk)),
            (0, lambda: stream.state),
            (0, stream.fork),
            (0, stream.to_bytes),
        )
        for n in range(600):
            steps, call = ways[n % len(ways)]
            with contextlib.suppress(RuntimeError):
                call()
                counts.append(steps)

    run_together(work, work)
    assert stream.steps == sum(counts)
    alone = lstmcore.Stream(case.cell)
    for _ in range(stream.steps):
        alone.step(x)
    assert identical(stream.state, alone.state)


@pytest.mark.parametrize("bank", [False, True], ids=("stream", "bank"))
def test_the_second_thread_is_refused(bank: bool) -> None:
    """One thread is nearly always in a long call, until the other has been refused."""
    case = wide_case(steps=2000)
    stream = lstmcore.Stream(case.cell)
    streams = lstmcore.StreamBank(case.cell)
    for _ in range(2000 if bank else 1):
        streams.join()
    refused = threading.Event()

    def long_calls() -> None:
        while not refused.is_set():
            with contextlib.suppress(RuntimeError):
                streams.step(case.x[:, 0]) if bank else stream.push(case.x[:, 0])

    messages = []

    def short_calls() -> None:
        limit = time.monotonic() + 60
        while not refused.is_set() and time.monotonic() < limit:
            time.sleep(0.001)  # or the other thread would be the one to be refused
            try:
                streams.state(0) if bank else stream.step(case.x[0, 0])
            except RuntimeError as error:
                messages.append(str(error))
                refused.set()

    run_together(long_calls, short_calls)
    name = "bank of streams is being used" if bank else "stream is being stepped"
    assert len(messages) == 1
    assert f"this {name} by another thread" in messages[0]


def test_a_fork_for_each_thread() -> None:
    case = wide_case()
    outputs, _ = case.whole()
    first = lstmcore.Stream(case.cell, initial_state=case.state)
    head = first.push(case.x[:10, 0])
    assert identical(head, outputs[:10, 0].copy())
    results = []

    def work(stream: lstmcore.Stream) -> None:
        parts = [stream.step(x)[np.newaxis] for x in case.x[10:25, 0]]
        results.append(np.concatenate([*parts, stream.push(case.x[25:, 0])]))

    twins = [first.fork() for _ in range(8)]
    run_together(*(lambda twin=twin: work(twin) for twin in twins))
    assert len(results) == 8
    assert all(identical(result, outputs[10:, 0].copy()) for result in results)
    assert first.steps == 10


def test_forks_made_by_many_threads_while_weights_are_assigned() -> None:
    case = wide_case()
    first = lstmcore.Stream(case.cell)
    expected = first.fork().push(case.x[:, 0])
    twins = [first.fork() for _ in range(4)]

    def work(twin: lstmcore.Stream) -> None:
        for _ in range(20):
            assert identical(twin.fork().push(case.x[:, 0]), expected)

    def assign() -> None:
        for n in range(20):
            case.cell.weights[1].assign(np.full(case.cell.weights[1].shape, n))
            lstmcore.Stream(case.cell).step(case.x[0, 0])

    run_together(assign, *(lambda twin=twin: work(twin) for twin in twins))
