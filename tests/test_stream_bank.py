"""``StreamBank``: streams advanced together give the bits that each would give alone."""

from __future__ import annotations

import gc
import random
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lstmcore
import stream_cases
from stream_cases import identical

F = np.float32


@settings(deadline=None, max_examples=40)
@given(case=stream_cases.cases(steps=(1,), rows=(1,)), seed=st.integers(0, 2**32))
def test_each_stream_is_as_alone(case: stream_cases.Case, seed: int) -> None:
    """Streams join, leave, reset and advance by chance, each beside a stream of its own."""
    dice, rng = random.Random(seed), np.random.default_rng(seed)
    bank = lstmcore.StreamBank(case.cell, dice.choice((None, 0, 1, 9)))
    alone: dict[int, lstmcore.Stream] = {}
    dtype = case.x.dtype
    for _ in range(25):
        what = dice.randrange(6)
        if what < 2 or not alone:
            state = dice.choice((None, case.state))
            alone[bank.join(state)] = lstmcore.Stream(case.cell, initial_state=state)
        elif what == 2:
            id = dice.choice(list(alone))
            bank.leave(id)
            del alone[id]
        elif what == 3:
            id = dice.choice(list(alone))
            state = dice.choice((None, case.state))
            bank.reset(id, state)
            alone[id].reset(state)
        everyone = dice.random() < 0.3
        ids = list(alone) if everyone else dice.sample(list(alone), dice.randint(0, len(alone)))
        x = rng.normal(size=(len(ids), case.x.shape[2])).astype(dtype)
        given_ids = dice.choice((ids, tuple(ids), np.array(ids, np.int32), np.array(ids, np.int64)))
        out = bank.step(x) if everyone else bank.step(x, given_ids)
        assert out.shape == (len(ids), bank.output_size)
        for row, id in enumerate(ids):
            assert identical(out[row].copy(), alone[id].step(x[row]))
        assert bank.ids == list(alone)
        assert len(bank) == len(alone)
    for id, stream in alone.items():
        assert identical(bank.state(id), stream.state)


def test_many_streams_run_as_the_whole_sequence() -> None:
    case = stream_cases.make(rows=300, steps=4)
    outputs, (first, second) = case.whole()
    bank = lstmcore.StreamBank(case.cell)
    rows = [tuple((c[n : n + 1], h[n : n + 1]) for c, h in case.state) for n in range(300)]
    ids = [bank.join(state) for state in rows]
    assert ids == list(range(300))
    for t in range(2):
        assert identical(bank.step(case.x[t]), outputs[t])
    order = np.random.default_rng(5).permutation(300)
    for t in range(2, 4):
        assert identical(bank.step(case.x[t][order].copy(), order), outputs[t][order].copy())
    state = bank.state(17)
    assert identical(state, tuple((c[17:18], h[17:18]) for c, h in (first, second)))
    assert isinstance(state[0], lstmcore.LSTMStateTuple)


def test_states_go_between_banks_and_streams() -> None:
    case = stream_cases.make()
    stream = lstmcore.Stream(case.cell)
    stream.push(case.x[:4, 0])
    bank = lstmcore.StreamBank(stream)
    id = bank.join(stream.state)
    assert identical(bank.step(case.x[4]), stream.fork().push(case.x[4]))
    back = lstmcore.Stream(bank, initial_state=bank.state(id))
    stream.step(case.x[4, 0])
    assert identical(back.step(case.x[5, 0]), stream.step(case.x[5, 0]))


def test_ids_are_never_given_twice() -> None:
    bank = lstmcore.StreamBank(lstmcore.BasicLSTMCell(3), input_size=2)
    seen = set()
    for _ in range(50):
        id = bank.join()
        assert id not in seen
        seen.add(id)
        if id % 3:
            bank.leave(id)
    assert bank.ids == [id for id in range(50) if id % 3 == 0]


def test_a_step_needs_no_more_memory_than_its_arrays() -> None:
    case = stream_cases.make(rows=64)
    bank = lstmcore.StreamBank(case.cell)
    for _ in range(64):
        bank.join()
    x = case.x[0]
    bank.step(x)
    gc.disable()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            bank.step(x)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert now - before < 1000
    assert peak - before < 64 * 5 * 4 + 2000


@pytest.fixture
def bank() -> lstmcore.StreamBank:
    """Streams 0, 2 and 3 after a step; I = P = 5."""
    case = stream_cases.make()
    bank = lstmcore.StreamBank(case.cell)
    for _ in range(4):
        bank.join(case.state)
    bank.leave(1)
    bank.step(np.ones((3, 5), F))
    return bank


def check_refused(bank: lstmcore.StreamBank, error: Any, match: str, call: Any) -> None:
    states = {id: bank.state(id) for id in bank.ids}
    with pytest.raises(error, match=match):
        call()
    assert bank.ids == list(states)
    for id, state in states.items():
        assert identical(bank.state(id), state)


@pytest.mark.parametrize(
    ("ids", "error", "match"),
    [
        ([0, 1], ValueError, "no stream 1 in the bank"),
        ([0, 2, 3, 4], ValueError, "no stream 4 in the bank"),
        ([3, 0, 3], ValueError, "ids: stream 3 comes twice"),
        ([0, 0, 0, 0, 0], ValueError, "ids: stream 0 comes twice"),
        ([-1], ValueError, "no stream -1 in the bank"),
        ([2**80], ValueError, "no stream 1208925819614629174706176 in the bank"),
        (np.array([2**64 - 1], np.uint64), ValueError, "no stream -1 in the bank"),
        ([0.0], TypeError, "id must be an integer, received float"),
        (np.array([0.0]), TypeError, "ids must be integers, received dtype float64"),
        (np.array([True]), TypeError, "ids must be integers, received dtype bool"),
        (np.array([[0, 2]]), ValueError, "ids: expected a int64 array of shape .any,., got shape"),
        (["0"], TypeError, "id must be an integer, received str"),
        (0, TypeError, "ids must be a sequence of integers, received int"),
    ],
)
def test_ids(bank: lstmcore.StreamBank, ids: Any, error: Any, match: str) -> None:
    rows = np.size(ids)
    check_refused(bank, error, match, lambda: bank.step(np.ones((rows, 5), F), ids))


def test_one_id(bank: lstmcore.StreamBank) -> None:
    for call in (bank.leave, bank.state, bank.reset):
        for id, error in ((1, ValueError), (4, ValueError), (-1, ValueError), (2**70, ValueError)):
            check_refused(bank, error, f"no stream {id} in", lambda call=call, id=id: call(id))
        for id in (1.0, "0", None):
            check_refused(
                bank, TypeError, "id must be an integer", lambda call=call, id=id: call(id)
            )


def test_inputs(bank: lstmcore.StreamBank) -> None:
    for x, ids, error, match in (
        (np.ones((2, 5), F), None, ValueError, r"^x: .* shape \(3, 5\), got shape \(2, 5\)"),
        (np.ones((3, 4), F), None, ValueError, r"^x: .* shape \(3, 5\), got shape \(3, 4\)"),
        (np.ones((3, 5), F), [0, 2], ValueError, r"^x: .* shape \(2, 5\), got shape \(3, 5\)"),
        (np.ones(5, F), [0], ValueError, r"^x: .* shape \(1, 5\), got shape \(5,\)"),
        (np.ones((3, 5)), None, TypeError, "^x: .*got dtype float64"),
        ([[1.0] * 5] * 3, None, TypeError, "^x: .*got list"),
    ):
        check_refused(bank, error, match, lambda x=x, ids=ids: bank.step(x, ids))
    assert bank.step(np.ones((5, 3), F).T, [3, 0, 2]).shape == (3, 5)
    assert bank.step(np.ones((0, 5), F), []).shape == (0, 5)


def test_states(bank: lstmcore.StreamBank) -> None:
    (c0, h0), top = bank.state(0)
    for state, error in (
        (((c0, h0),), ValueError),
        (((c0[0], h0), top), ValueError),
        (((c0, h0.astype("d")), top), TypeError),
    ):
        check_refused(bank, error, "state", lambda state=state: bank.join(state))
        check_refused(bank, error, "state", lambda state=state: bank.reset(0, state))


def test_constructor() -> None:
    cell = lstmcore.BasicLSTMCell(3, name="lstm")
    with pytest.raises(ValueError, match="is not built"):
        lstmcore.StreamBank(cell)
    with pytest.raises(ValueError, match="capacity must be >= 0"):
        lstmcore.StreamBank(cell, -1, input_size=2)
    bank = lstmcore.StreamBank(cell, 3, input_size=2)
    assert bank.step(np.zeros((0, 2), F)).shape == (0, 3)
    assert repr(bank) == (
        "<StreamBank of 'lstm' input_size=2 output_size=3 dtype=float32 streams=0>"
    )
