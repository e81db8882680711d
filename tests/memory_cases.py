"""What calls take from the system, counted from inside: run by test_memory.py with
``counted_memory.cpp`` preloaded. Prints JSON."""

from __future__ import annotations

import copy
import ctypes
import json
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import lstmcore
from lstmcore import _core

counter = ctypes.CDLL(None)
counter.counted_requests.restype = ctypes.c_int64
counter.counted_news.restype = ctypes.c_int64
counter.counted_fail.argtypes = (ctypes.c_int64, ctypes.c_int)

CALLS = 1000
T, N, I, H, P = 6, 3, 7, 12, 5
random = np.random.default_rng(7)


def draw(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return random.uniform(-1, 1, shape).astype(dtype)


def native(
    inputs: int = I, units: int = H, proj: int | None = P, dtype: Any = np.float32
) -> _core.Lstm:
    width = units if proj is None else proj
    return _core.Lstm(
        draw(inputs + width, 4 * units, dtype=dtype),
        draw(4 * units, dtype=dtype),
        num_units=units,
        proj_kernel=None if proj is None else draw(units, proj, dtype=dtype),
        forget_bias=0.75,
    )


def two_layers() -> lstmcore.MultiRNNCell:
    cell = lstmcore.MultiRNNCell([lstmcore.LSTMCell(H, num_proj=P), lstmcore.BasicLSTMCell(9)])
    with lstmcore.variable_scope(f"scope_{random.integers(1 << 60)}"):
        lstmcore.Stream(cell, input_size=I)  # builds it
    return cell


# Requests of warm calls


def steps() -> Iterator[tuple[str, Callable[[], Any]]]:
    for dtype in (np.float32, np.float64):
        for proj in (None, P):
            for rows in (1, 5):
                lstm, width = native(proj=proj, dtype=dtype), H if proj is None else proj
                x, c, h = (draw(rows, n, dtype=dtype) for n in (I, H, width))
                out, state_out = np.empty_like(h), np.empty_like(c)
                name = f"step {np.dtype(dtype).name} proj={proj} batch={rows}"
                yield (
                    name,
                    lambda a=(x, c, h), o=out, s=state_out, m=lstm: m.step(*a, out=o, state_out=s),
                )
    cell = two_layers()
    for batch in (None, 4):
        stream = lstmcore.Stream(cell, batch, input_size=I)
        shape = () if batch is None else (batch,)
        x, out = draw(*shape, I), np.empty((*shape, 9), np.float32)
        yield f"Stream.step_into batch={batch}", lambda a=(x, out), m=stream: m.step_into(*a)
    bank = lstmcore.StreamBank(cell)
    ids = np.array([bank.join() for _ in range(5)])[[3, 0]]
    x, out = draw(5, I), np.empty((5, 9), np.float32)
    yield "StreamBank.step_into all", lambda: bank.step_into(x, out)
    yield "StreamBank.step_into some", lambda: bank.step_into(x[:2], out[:2], ids)


def requests() -> dict[str, Any]:
    """By call: native requests and Python blocks that CALLS warm calls leave behind."""
    found = {}

    def measure(name: str, call: Callable[[], Any]) -> None:
        for _ in range(2500):  # the interpreter keeps up to 2000 tuples of a size
            call()
        blocks, before = sys.getallocatedblocks(), counter.counted_requests()
        for _ in range(CALLS):
            call()
        after = counter.counted_requests()
        found[name] = (after - before, sys.getallocatedblocks() - blocks)

    for name, call in steps():
        measure(name, call)
        thread = threading.Thread(target=measure, args=(name + ", another thread", call))
        thread.start()
        thread.join()
    found["a call that allocates"] = (0, 0)
    measure("a call that allocates", lambda: bytearray(4096))
    return found


# Failures


class Case(NamedTuple):
    """``prepare`` is called before each ``call``, which must not change ``state`` if it fails."""

    call: Callable[[], Any]
    prepare: Callable[[], Any] = lambda: None
    state: Callable[[], Any] = lambda: None


def plain_cases(folder: Path) -> Iterator[tuple[str, Case]]:
    lstm, back = native(), native()
    kernel, bias = draw(I + H, 4 * H), draw(4 * H)
    x, c, h = draw(N, T, I), draw(N, H), draw(N, P)
    first = np.ascontiguousarray(x[:, 0])
    lengths = np.array([6, 0, 3])
    both = ((lstm, c, h), (back, c, h))
    model = lstmcore.LSTM(I, H, 2, bidirectional=True, num_proj=P, seed=1)
    cell = two_layers()
    zeros = cell.zero_state(N, np.float32)
    model.save(folder / "model.safetensors")

    def inputs() -> Any:
        return x, c, h, zeros, list(model.weights.values())

    for name, call in {
        "construct": lambda: _core.Lstm(kernel, bias, num_units=H).step(first, c, c),
        "step": lambda: lstm.step(first, c, h),
        "forward": lambda: lstm.forward(x, c, h, lengths),
        "both directions": lambda: _core.forward_bidirectional(*both, x, lengths=lengths),
        "LSTM": lambda: model(x, lengths, return_state=True),
        "LSTM construct": lambda: lstmcore.LSTM(I, H, 2, seed=3)(x),
        "load": lambda: lstmcore.load(folder / "model.safetensors")(x),
        "cell": lambda: cell(first, zeros),
        "dynamic_rnn": lambda: lstmcore.dynamic_rnn(cell, x, dtype=np.float32),
        "Stream": lambda: lstmcore.Stream(cell, N).step(first),
    }.items():
        yield name, Case(call, state=inputs)


def stream_cases() -> Iterator[tuple[str, Case]]:
    """What changes the object that it is called on, which each time begins in the same state."""
    cell = two_layers()
    stream, chunk = lstmcore.Stream(cell, N, input_size=I), draw(T, N, I)
    stream.push(chunk)
    start = stream.state

    def restart() -> None:
        stream.reset(start)
        stream.trim()

    def state() -> Any:
        return stream.steps, stream.state

    yield "Stream.step", Case(lambda: stream.step(chunk[0]), restart, state)
    yield "Stream.push", Case(lambda: stream.push(chunk), restart, state)

    x, banks = draw(4, I), [lstmcore.StreamBank(cell)]

    def joined() -> None:
        banks[0] = lstmcore.StreamBank(cell)
        for _ in range(3):
            banks[0].join()

    def states() -> Any:
        return [banks[0].state(id) for id in banks[0].ids]

    def join_and_step() -> Any:
        return banks[0].step(x, [banks[0].join(), 2, 0, 1])

    yield "StreamBank.step", Case(lambda: banks[0].step(x[:2], [2, 0]), joined, states)
    yield "StreamBank", Case(join_and_step, joined, lambda: states()[:3])


def same(a: Any, b: Any) -> bool:
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a is b if a is None else np.array_equal(np.asarray(a), np.asarray(b))


def failures() -> dict[str, Any]:
    """By call: how many attempts failed, and what was wrong."""
    with tempfile.TemporaryDirectory() as folder:
        cases = {**dict(plain_cases(Path(folder))), **dict(stream_cases())}
        return {name: sweep(case) for name, case in cases.items()}


def sweep(case: Case) -> dict[str, Any]:
    """The call with one ``operator new`` after the other failing, alone and with all after it."""
    case.prepare()
    before = copy.deepcopy(case.state())
    expected, after = case.call(), copy.deepcopy(case.state())
    failed, wrong = 0, []
    for every in (False, True):
        reached, number = True, 0
        while reached:
            case.prepare()
            lstmcore.trim()
            error, result = None, expected
            counter.counted_fail(number, every)
            try:
                result = case.call()
            except BaseException as raised:  # any but one is what the test is about
                error = raised
            reached = bool(counter.counted_fail(-1, 0))
            if error is not None:
                failed += 1
                if not isinstance(error, MemoryError):
                    wrong.append(f"request {number}: {type(error).__name__}: {error}")
                if not same(before, case.state()):
                    wrong.append(f"request {number}: something changed")
                case.prepare()
                result = case.call()
            if not same(result, expected) or not same(case.state(), after):
                wrong.append(f"request {number}: another result")
            number += 1
    return {"failed": failed, "wrong": wrong[:5]}


if __name__ == "__main__":
    result = {"news": int(counter.counted_news())}
    result["found"] = {"requests": requests, "failures": failures}[sys.argv[1]]()
    print(json.dumps(result))
