"""Long native calls and signals: ``python interrupt_cases.py CASE [ARGUMENT...]``.

``answers THREADS`` prints for each kind of call the seconds from the signal to the exception, as
JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import lstmcore
from lstmcore import _core

RNG = np.random.default_rng(2)


class Call(NamedTuple):
    """A call of many seconds, a short one to compare the bits of, and what must not change."""

    long: Callable[[], Any]
    short: Callable[[], Any]
    unchanged: Callable[[], Any]


def random(*shape: int) -> np.ndarray:
    return RNG.random(shape, np.float32)


def long_sequence(rows: int, steps: int, depth: int) -> np.ndarray:
    """[N, T, I] of which only one step is stored; time does not wait for memory."""
    return np.ascontiguousarray(np.broadcast_to(random(rows, 1, depth), (rows, steps, depth)))


def built(cell: Any, depth: int) -> Any:
    with lstmcore.Graph().as_default():
        cell(np.zeros((1, depth), np.float32), cell.zero_state(1, np.float32))
    return cell


def state_of(cell: Any, rows: int) -> Any:
    return lstmcore.nest.map_structure(lambda size: random(rows, size), cell.state_size)


def of_arrays(call: Callable[..., Any], long: tuple[Any, ...], short: tuple[Any, ...]) -> Call:
    """A function of arrays, which it leaves as they are."""
    return Call(lambda: call(*long), lambda: call(*short), lambda: long)


def cell_step() -> Call:
    cell = built(lstmcore.LSTMCell(1536, num_proj=512), 512)
    long, short = ((random(n, 512), state_of(cell, n)) for n in (20000, 7))
    return of_arrays(cell, long, short)


def dynamic_rnn(rows: int, steps: int) -> Call:
    cell = built(lstmcore.LSTMCell(256, use_peepholes=True), 64)

    def call(x: np.ndarray, state: Any) -> Any:
        return lstmcore.dynamic_rnn(cell, x, initial_state=state)

    x = long_sequence(rows, steps, 64)
    state = state_of(cell, rows)
    return of_arrays(call, (x, state), (x[:, :5].copy(), state))


def packed_rnn() -> Call:
    cell = built(lstmcore.MultiRNNCell([lstmcore.BasicLSTMCell(128) for _ in range(2)]), 32)
    state = state_of(cell, 3)

    def call(values: np.ndarray, offsets: np.ndarray, state: Any) -> Any:
        return lstmcore.packed_rnn(cell, values, offsets, state)

    long = long_sequence(1, 600000, 32)[0]
    offsets = np.array([0, 250000, 250000, 600000])
    return of_arrays(call, (long, offsets, state), (long[:9].copy(), np.array([0, 4, 4, 9]), state))


def stack(bidirectional: bool) -> Call:
    model = lstmcore.LSTM(64, 160, num_layers=3, bidirectional=bidirectional, seed=1)
    x = long_sequence(4, 60000, 64)
    state = tuple((random(4, 160), random(4, 160)) for _ in model.zero_state(4))

    def call(x: np.ndarray, state: Any) -> Any:
        return model(x, initial_state=state, return_state=True)

    return of_arrays(call, (x, state), (x[:, :5].copy(), state))


def bidirectional_rnn() -> Call:
    cells = [built(lstmcore.LSTMCell(192), 64) for _ in range(2)]
    states = [state_of(cells[0], 2) for _ in cells]

    def call(x: np.ndarray) -> Any:
        return lstmcore.bidirectional_dynamic_rnn(
            *cells, x, initial_state_fw=states[0], initial_state_bw=states[1]
        )

    x = long_sequence(2, 100000, 64)
    return of_arrays(call, (x,), (x[:, :5].copy(),))


def small_steps() -> Call:
    """Steps of a few nanoseconds' work, a million of them."""
    cell = built(lstmcore.BasicLSTMCell(2), 1)
    state = state_of(cell, 1)

    def call(x: np.ndarray) -> Any:
        return lstmcore.dynamic_rnn(cell, x, initial_state=state)

    x = long_sequence(1, 30_000_000, 1)
    return of_arrays(call, (x,), (x[:, :5].copy(),))


def stream_push() -> Call:
    cell = built(
        lstmcore.MultiRNNCell([lstmcore.LSTMCell(192, num_proj=64), lstmcore.LSTMCell(128)]), 64
    )
    stream = lstmcore.Stream(cell)
    stream.push(random(3, 64))
    x = long_sequence(1, 400000, 64)[0]
    return Call(
        lambda: stream.push(x), lambda: stream.fork().push(x[:5]), lambda: stream.to_bytes()
    )


def stream_step() -> Call:
    cell = built(lstmcore.LSTMCell(1536), 512)
    stream = lstmcore.Stream(cell, batch_size=12000, initial_state=state_of(cell, 12000))
    x, out = random(12000, 512), np.empty((12000, 1536), np.float32)
    short = lstmcore.Stream(cell)
    return Call(
        lambda: stream.step_into(x, out),
        lambda: short.fork().step(x[0]),
        lambda: (stream.steps, stream.state),
    )


def bank_step() -> Call:
    cell = built(lstmcore.LSTMCell(1536), 512)
    bank = lstmcore.StreamBank(cell, 12000)
    for _ in range(12000):
        bank.join()
    bank.reset(11, state_of(cell, 1))
    x, short = random(12000, 512), lstmcore.StreamBank(cell)
    short.join()

    def again() -> Any:
        short.reset(0)
        return short.step(x[:1])

    return Call(lambda: bank.step(x), again, lambda: [bank.state(n) for n in (0, 11, 11999)])


def packing() -> Call:
    """The constructor of a layer of 512 MB, which packs its weights."""
    kernel, bias = np.zeros((8000, 4 * 4000), np.float32), random(4 * 4000)
    return Call(
        lambda: [_core.Lstm(kernel, bias, num_units=4000) for _ in range(100)],
        lambda: _core.Lstm(kernel[:4003].copy(), bias, num_units=4000).packed_bytes,
        lambda: bias,
    )


CALLS: dict[str, Callable[[], Call]] = {
    "cell step": cell_step,
    "dynamic_rnn, one row": lambda: dynamic_rnn(1, 200000),
    "dynamic_rnn, many rows": lambda: dynamic_rnn(96, 4000),
    "small steps": small_steps,
    "packed_rnn": packed_rnn,
    "stack": lambda: stack(False),
    "bidirectional": lambda: stack(True),
    "bidirectional_dynamic_rnn": bidirectional_rnn,
    "Stream.push": stream_push,
    "Stream.step_into": stream_step,
    "StreamBank.step": bank_step,
    "packing": packing,
}


def bits(value: Any) -> list[bytes]:
    if isinstance(value, (tuple, list)):
        return [part for item in value for part in bits(item)]
    return [value if isinstance(value, bytes) else np.asarray(value).tobytes()]


def seconds_to_answer(call: Callable[[], Any], delay: float) -> float:
    sent: list[float] = []

    def send() -> None:
        time.sleep(delay)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        call()
    except KeyboardInterrupt:
        answered = time.monotonic()
    else:
        raise AssertionError("the call ran to its end: it was to take longer")
    finally:
        sender.join()
    return answered - sent[0]


def answers(threads: str, delay: str = "0.15") -> None:
    lstmcore.set_num_threads(int(threads))
    seconds = {}
    for name, make in CALLS.items():
        call = make()
        right, before = bits(call.short()), bits(call.unchanged())
        seconds[name] = seconds_to_answer(call.long, float(delay))
        assert bits(call.unchanged()) == before, f"{name}: changed"
        assert bits(call.short()) == right, f"{name}: other bits afterwards"
    print(json.dumps(seconds))


def long_call() -> tuple[lstmcore.LSTM, np.ndarray]:
    """A model, and inputs that take it 0.3 s: long enough for several questions."""
    model = lstmcore.LSTM(64, 256, seed=1)
    x = long_sequence(2, 500, 64)
    model(x)
    begun = time.monotonic()
    model(x)
    taken = time.monotonic() - begun
    return model, long_sequence(2, max(500, int(500 * 0.3 / taken)), 64)


def steps_in_place(threads: str) -> None:
    """A state that is written over is never half written: the step runs to its end."""
    lstmcore.set_num_threads(int(threads))
    cell = built(lstmcore.LSTMCell(1024), 512)
    x, (c, h) = random(8000, 512), state_of(cell, 8000)
    _, (right, _) = cell(x, (c, h))
    new_h = np.empty_like(h)
    seconds_to_answer(lambda: cell(x, (c, h), out=(c, new_h)), 0.1)
    assert np.array_equal(c, right)


def handlers_that_return(threads: str) -> None:
    """A handler runs within the call, calls the same model, and the call goes on."""
    lstmcore.set_num_threads(int(threads))
    model, x = long_call()
    right, short = bits(model(x)), bits(model(x[:, :50].copy()))
    seen: list[bool] = []
    denormal = np.array([1e-40], np.float32)

    def handler(*_: Any) -> None:
        kept = bool((denormal * np.float32(0.5) != 0).all())  # flushing is for the kernels alone
        seen.append(bits(model(x[:, :50].copy())) == short and inside and kept)

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.1)
    inside = True
    found = model(x)
    inside = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert bits(found) == right
    assert seen
    assert all(seen), seen
    print(len(seen))


def exceptions_of_handlers(threads: str) -> None:
    """Whatever a handler raises ends the call, as a timeout does."""

    class TooLong(Exception):
        pass

    def handler(*_: Any) -> None:
        raise TooLong

    lstmcore.set_num_threads(int(threads))
    model, x = long_call()
    right = bits(model(x))
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        model(x)
    except TooLong:
        pass
    else:
        raise AssertionError("the call ran to its end")
    assert bits(model(x)) == right


def types_of_refusals(threads: str) -> None:
    """A ValueError or TypeError of a handler is not taken for one about the arguments."""
    lstmcore.set_num_threads(int(threads))
    cell = built(lstmcore.LSTMCell(1536, num_proj=512), 512)
    x, state = random(20000, 512), state_of(cell, 20000)
    sequence = long_sequence(4, 20000, 512)
    calls: dict[str, Callable[[], Any]] = {
        "step": lambda: cell(x, state),
        "sequence": lambda: lstmcore.dynamic_rnn(cell, sequence, dtype=np.float32),
        "both": lambda: lstmcore.bidirectional_dynamic_rnn(cell, cell, sequence, dtype=np.float32),
    }
    for error in (ValueError, TypeError):

        def handler(*_: Any, error: type[Exception] = error) -> None:
            raise error("of the handler")

        signal.signal(signal.SIGALRM, handler)
        for name, call in calls.items():
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            try:
                call()
            except error as raised:
                message = str(raised)
            else:
                message = "it ran to its end"
            assert message == "of the handler", (name, message)


def other_threads_go_on(threads: str) -> None:
    """Ctrl-C is for the main thread: calls of others are not ended by it."""
    lstmcore.set_num_threads(int(threads))
    model, x = long_call()
    right, found = bits(model(x)), []
    done = threading.Event()

    def call() -> None:
        found.append(bits(model(x)))
        done.set()

    threading.Thread(target=call).start()
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        done.wait()
    else:
        raise AssertionError("no KeyboardInterrupt")
    assert found == [right]


def both_threads_at_once(threads: str) -> None:
    """The main thread's call ends, that of another one on the same cell does not."""
    lstmcore.set_num_threads(int(threads))
    model, x = long_call()
    right, found = bits(model(x)), []

    def others() -> None:
        for _ in range(3):
            found.append(bits(model(x)))

    caller = threading.Thread(target=others)
    caller.start()
    taken = seconds_to_answer(lambda: [model(x) for _ in range(50)], 0.2)
    caller.join()
    assert found == [right] * 3
    print(taken)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
