"""What the tests of processes run in processes of their own: ``python process_cases.py CASE``.

A case prints what its test compares, and whatever goes wrong in a child reaches its exit code.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import hashlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable

import numpy as np

import lstmcore

MESSAGE = "lstmcore runs on one thread in this process"


class Served:
    """A model, a cell and a bank that a process loads once, and requests that pay for threads."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        self.model = lstmcore.LSTM(24, 96, num_layers=2, bidirectional=True, seed=5)
        self.cell = lstmcore.LSTMCell(120, num_proj=70, initializer="glorot_uniform")
        self.x = rng.normal(size=(12, 20, 24)).astype(np.float32)
        with lstmcore.Graph().as_default():
            self.cell(self.x[:, 0], self.cell.zero_state(12, np.float32))
        self.cell.set_weights([rng.uniform(-0.4, 0.4, v.shape) for v in self.cell.weights])

    def digest(self) -> str:
        """Of all results: through one call each way, and through a stream and a bank."""
        total = hashlib.sha256()
        outputs, state = lstmcore.dynamic_rnn(self.cell, self.x, dtype=np.float32)
        stream = lstmcore.Stream(self.cell, batch_size=12)
        pushed = stream.push(np.ascontiguousarray(self.x.swapaxes(0, 1)))
        assert np.array_equal(pushed.swapaxes(0, 1), outputs)
        bank = lstmcore.StreamBank(self.cell)
        for _ in range(12):
            bank.join()
        packed, _ = lstmcore.packed_rnn(self.cell, self.x.reshape(240, 24), np.arange(13) * 20)
        for array in (outputs, *state, self.model(self.x), bank.step(self.x[:, 0]), packed):
            total.update(np.ascontiguousarray(array))
        return total.hexdigest()


def served() -> Served:
    lstmcore.set_num_threads(2)
    return Served()


def in_child(work: Callable[[], object]) -> int:
    """The exit code of a forked child that does ``work``: 0, or 1 where it raised."""
    return waited_for(start_child(work))


def start_child(work: Callable[[], object]) -> int:
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's own, of threads and forks
        pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)


def waited_for(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def expect(condition: object, what: str) -> None:
    if not condition:
        raise AssertionError(what)


def serial_warnings(call: Callable[[], object]) -> int:
    """How many RuntimeWarnings say that this process runs on one thread."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    mine = [w for w in caught if w.category is RuntimeWarning]
    assert all(MESSAGE in str(w.message) for w in mine), [str(w.message) for w in mine]
    assert all(w.filename == __file__ for w in mine), [w.filename for w in mine]
    return len(mine)


# Cases


def fork() -> None:
    """A child, and a child of the child: same bits on one thread, and one warning each."""
    used = served()
    expected = used.digest()

    def child(generations: int) -> None:
        expect(lstmcore.num_threads_reason() == "forked child", "the reason")
        expect(lstmcore.get_num_threads() == 1, "the number")
        small = lambda: used.model(used.x[:1, :1])  # noqa: E731
        expect(serial_warnings(small) == 0, "a small call warned")
        expect(serial_warnings(lambda: used.model(used.x, threads=1)) == 0, "threads=1 warned")
        expect(serial_warnings(used.digest) == 1, "not one warning")
        expect(serial_warnings(used.digest) == 0, "a second warning")
        expect(used.digest() == expected, "other bits")
        expect(Served().digest() == expected, "other bits of a new model")
        if generations:
            expect(in_child(lambda: child(generations - 1)) == 0, "a grandchild")

    expect(in_child(lambda: child(2)) == 0, "a child")
    expect(serial_warnings(used.digest) == 0, "the parent warned")
    expect(used.digest() == expected, "other bits in the parent")


def fork_and_warning_as_error() -> None:
    """The warning comes before anything is changed: the call can be made again."""
    used = served()
    stream = lstmcore.Stream(used.cell, batch_size=12)
    x = np.ascontiguousarray(used.x.swapaxes(0, 1))
    expected = stream.fork().push(x)

    def child() -> None:
        before = stream.to_bytes()
        warnings.simplefilter("error")
        try:
            stream.push(x)
        except RuntimeWarning as warning:
            expect(MESSAGE in str(warning), str(warning))
        else:
            expect(False, "no error")
        expect(stream.to_bytes() == before, "the stream has moved")
        expect(np.array_equal(stream.push(x), expected), "other bits")

    expect(in_child(child) == 0, "a child")


def preload() -> None:
    """As gunicorn does: warmed up once, workers forked, some forked again, one replaced."""
    used = served()
    expected = used.digest()

    def serve(depth: int) -> None:
        warnings.simplefilter("ignore")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda _: used.digest(), range(4)))
        expect(set(answers) == {expected}, "other bits")
        if depth:
            expect(in_child(lambda: serve(depth - 1)) == 0, "a worker's worker")

    workers = [start_child(lambda: serve(1)) for _ in range(3)]
    killed = start_child(lambda: time.sleep(60))
    expect(used.digest() == expected, "other bits in the parent meanwhile")
    os.kill(killed, signal.SIGKILL)
    expect(waited_for(killed) == -signal.SIGKILL, "the killed worker")
    workers.append(start_child(lambda: serve(0)))
    expect([waited_for(pid) for pid in workers] == [0] * 4, "a worker")


def fork_during_calls() -> None:
    """The main thread forks while other threads are inside native calls, and those go on."""
    used = served()
    expected = used.digest()
    stop, answers = threading.Event(), set()

    def call() -> None:
        while not stop.is_set():
            answers.add(used.digest())

    def child() -> None:
        warnings.simplefilter("ignore")
        expect(used.digest() == expected, "other bits")

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    codes = [in_child(child) for _ in range(25)]
    stop.set()
    for caller in callers:
        caller.join()
    expect(codes == [0] * 25, f"exit codes {codes}")
    expect(answers == {expected}, "other bits in the parent")


def fork_in_a_signal_handler() -> None:
    """In the middle of a call on two threads: the child's call ends, the parent's goes on."""
    lstmcore.set_num_threads(2)
    children = []

    def handler(*_: object) -> None:
        if not children:
            children.append(os.fork())

    for shape in ((64, 400, 256), (1, 4000, 256)):  # rows are split, and units
        children.clear()
        cell = lstmcore.LSTM(256, 384, seed=1)
        x = np.random.default_rng(1).random(shape, np.float32)
        expected = cell(x)
        signal.signal(signal.SIGALRM, handler)
        warnings.simplefilter("ignore")
        signal.setitimer(signal.ITIMER_REAL, 0.005)
        try:
            found = cell(x)
            while not children:  # a fast machine: the signal came after the call
                found = cell(x)
        except RuntimeError as error:
            os._exit(7 if "forked during the call" in str(error) else 8)
        if children == [0]:
            os._exit(7)  # the signal came between two calls
        expect(np.array_equal(found, expected), "other bits in the parent")
        expect(waited_for(children[0]) == 7, "the child")


def openmp_after_a_fork() -> None:
    """A parent that has only used lstmcore leaves OpenMP to its children."""
    lstmcore.set_num_threads(2)
    model = lstmcore.LSTM(512, 512, seed=1)  # large enough to be packed by two threads
    model(np.ones((8, 8, 512), np.float32))
    gomp = ctypes.CDLL("libgomp.so.1")
    region = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
    expect(in_child(lambda: gomp.GOMP_parallel(region, None, 2, 0)) == 0, "a child")


def race() -> None:
    """Threads on one model, cell, stream and bank, while others change the number of threads."""
    sys.setswitchinterval(1e-6)
    used = served()
    expected = used.digest()
    shared = lstmcore.Stream(used.cell, batch_size=12)
    bank = lstmcore.StreamBank(used.cell)
    ids = [bank.join() for _ in range(12)]
    taken = {"stream": 0, "bank": 0}
    end, errors, lock = time.monotonic() + 3, [], threading.Lock()

    def same_bits(_: int) -> None:
        expect(used.digest() == expected, "other bits")

    def numbers(k: int) -> None:
        lstmcore.set_num_threads(1 + k % 4)
        with lstmcore.threads(1 + k % 3):
            expect(lstmcore.get_num_threads() == 1 + k % 3, "the number of this thread")
            used.model(used.x)
        lstmcore.num_threads_reason()

    def one_stream(k: int) -> None:
        x = used.x[:, 0].copy()
        for name, call in (
            ("stream", lambda: shared.step(x, threads=1 + k % 2)),
            ("bank", lambda: bank.step(x, ids)),
        ):
            try:
                call()
            except RuntimeError as error:
                expect("by another thread" in str(error), str(error))
            else:
                with lock:
                    taken[name] += 1

    def repeat(work: Callable[[int], None]) -> None:
        k = 0
        try:
            while time.monotonic() < end:
                work(k)
                k += 1
        except BaseException as error:
            errors.append(error)

    works = [same_bits] * 3 + [numbers] * 2 + [one_stream] * 3
    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    alone = lstmcore.Stream(used.cell, batch_size=12)
    for _ in range(taken["stream"]):
        alone.step(used.x[:, 0].copy())
    expect(shared.steps == taken["stream"], "steps were lost")
    expect(np.array_equal(alone.state[0], shared.state[0]), "the stream has another state")
    for _ in range(taken["bank"] - taken["stream"]):
        alone.step(used.x[:, 0].copy())
    if taken["bank"] >= taken["stream"]:
        expect(np.array_equal(bank.state(3)[0][0], alone.state[0][3]), "the bank has another state")


def _digest_here(threads: int | None = None) -> tuple[str, int]:
    """For processes of every start method: the digest, and how many threads there were."""
    warnings.simplefilter("ignore")
    if threads:
        lstmcore.set_num_threads(threads)
    return _shared().digest(), lstmcore.get_num_threads()


_kept: list[Served] = []


def _shared() -> Served:
    if not _kept:
        _kept.append(Served())
    return _kept[0]


def start_methods() -> None:
    """Process pools of each kind, each of two processes, from a parent that has used the model."""
    lstmcore.set_num_threads(2)
    expected = _shared().digest()
    for method, threads in (("fork", 1), ("forkserver", 2), ("spawn", 2)):
        context = multiprocessing.get_context(method)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
                answers = list(pool.map(_digest_here, [2] * 4))
            with context.Pool(1) as pool:
                answers.append(pool.apply(_digest_here, (2,)))
        expect(answers == [(expected, threads)] * 5, f"{method}: {answers}")
    expect(_shared().digest() == expected, "other bits in the parent")


def end_during_calls() -> None:
    """The process ends, as others do, while daemon threads are in calls."""
    served = _shared()

    def call() -> None:
        while True:
            served.model(served.x)

    for _ in range(3):
        threading.Thread(target=call, daemon=True).start()
    time.sleep(0.3)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    print("ok")
