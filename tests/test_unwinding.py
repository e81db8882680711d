"""Calls that an exception ends, at any line: scopes, names, variables and thread limit after it."""

from __future__ import annotations

import collections
import itertools
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcore
from lstmcore import _core, nest
from lstmcore.variables.variable_store import fixed_size_partitioner

N, T, I, H = 2, 3, 4, 5
PACKAGE = str(Path(lstmcore.__file__).parent)
TIMES = 1  # that a line is interrupted: in the layers of a stack, say
X = np.random.default_rng(5).normal(size=(N, T, I)).astype(np.float32)


class Raised(BaseException):
    """What no handler in the library knows."""


def opened(node: Any) -> Any:
    """The opened names of a graph, as plain data."""
    children = {name: opened(child) for name, child in node.children.items()}
    kept = {name: child for name, child in children.items() if any(child)}
    return sorted(node.opened), {k: v for k, v in node.run.items() if v > 1}, kept


def scopes_now() -> Any:
    scopes = lstmcore.get_default_graph().scopes
    names = scopes.names
    return (
        scopes.entered,
        scopes.attempts,
        scopes._changes[:],
        names._remembers,
        names._undo[:],
        _core.num_threads_of_this_thread(),
    )


def variables() -> dict[str, np.ndarray]:
    return {v.name: v.numpy() for v in lstmcore.global_variables()}


def raising_at(moment: int) -> tuple[Callable[..., Any], list[BaseException]]:
    """A trace function that raises before the moment-th line or call, and what it raised.

    Of the library, and of the first times that a line runs.
    """
    left, raised, times = itertools.count(moment, -1), [], collections.Counter()

    def trace(frame: Any, event: str, argument: Any) -> Any:
        code = frame.f_code
        # not as a generator is closed, where what is raised goes nowhere
        if not code.co_filename.startswith(PACKAGE) or code.co_name == "<genexpr>":
            return None
        times[code, frame.f_lineno, event] += 1
        wanted = event in ("line", "call") and times[code, frame.f_lineno, event] <= TIMES
        if wanted and next(left) == 0:
            raised.append(Raised())
            raise raised[0]
        return trace

    return trace, raised


class OwnCell(lstmcore.RNNCell):
    """Makes its variables when it is called."""

    state_size = output_size = H

    def call(self, inputs: Any, state: Any) -> Any:
        with lstmcore.variable_scope("inner"):
            w = lstmcore.get_variable("w", [inputs.shape[1], H], initializer=drawn)
        b = lstmcore.get_variable("b", [H], initializer=drawn)
        h = np.tanh(inputs @ w.numpy() + b.numpy() + state)
        return h, h


def drawn(shape: Any, dtype: Any, partition_info: Any = None) -> np.ndarray:
    return np.random.default_rng(3).normal(size=shape).astype(dtype)


def lstm(**options: Any) -> lstmcore.LSTMCell:
    return lstmcore.LSTMCell(H, initializer=drawn, use_peepholes=True, **options)


def stack(*cells: Any) -> lstmcore.MultiRNNCell:
    return lstmcore.MultiRNNCell(list(cells))


def sequence(cell: Any, **options: Any) -> Callable[[], Any]:
    return lambda: lstmcore.dynamic_rnn(cell, X, [3, 1], dtype=np.float32, **options)


def step(cell: Any) -> Callable[[], Any]:
    return lambda: cell(X[:, 0], cell.zero_state(N, np.float32))


def both() -> Callable[[], Any]:
    cells = lstm(num_proj=3), lstm()
    return lambda: lstmcore.bidirectional_dynamic_rnn(
        *cells, X, [3, 1], dtype=np.float32, threads=1
    )


def both_stacked() -> Callable[[], Any]:
    forwards, backwards = [lstm(), stack(lstm())], [lstm(), lstm()]
    return lambda: lstmcore.stack_bidirectional_dynamic_rnn(
        forwards, backwards, X, dtype=np.float32
    )


def static() -> Callable[[], Any]:
    cell = stack(lstm(), OwnCell())
    return lambda: lstmcore.static_rnn(cell, list(X), dtype=np.float32)


def into() -> Callable[[], Any]:
    cell = lstm()
    out = np.empty((N, H), np.float32), np.empty((N, H), np.float32)
    return lambda: cell(X[:, 0], cell.zero_state(N, np.float32), out=out)


def captured() -> Callable[[], Any]:
    with lstmcore.variable_scope("captured", initializer=drawn) as scope:
        pass
    return sequence(lstmcore.BasicLSTMCell(H), scope=scope)


def shared() -> Callable[[], Any]:
    cells = [lstm(name="n", reuse=lstmcore.AUTO_REUSE) for _ in range(2)]
    return lambda: [step(cell)() for cell in cells]


def partitioned() -> Callable[[], Any]:
    return step(stack(lstm(num_unit_shards=3), lstm(num_proj=4, num_proj_shards=2)))


def streamed() -> Callable[[], Any]:
    cell = stack(lstm(), lstm())
    return lambda: lstmcore.Stream(cell, input_size=I).push(X[0])


CALLS: dict[str, Callable[[], Callable[[], Any]]] = {
    "sequence": lambda: sequence(stack(lstm(), lstm()), threads=1),
    "sequence of an own cell": lambda: sequence(stack(OwnCell(), lstm())),
    "step": lambda: step(stack(lstm(), lstm(num_proj=3))),
    "step of an own cell": lambda: step(OwnCell()),
    "step of one cell": lambda: step(lstm()),
    "shared": shared,
    "both directions": both,
    "both stacked": both_stacked,
    "static": static,
    "into": into,
    "captured": captured,
    "partitioned": partitioned,
    "streamed": streamed,
}


#: Calls that build one cell after the other.
SEVERAL_CELLS = {"shared", "both directions", "both stacked"}


def interrupted(call: Callable[[], Any], moment: int) -> bool:
    """Whether there was such a moment: what was raised then is what comes out."""
    trace, raised = raising_at(moment)
    came_out: list[BaseException] = []
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except BaseException as error:
        came_out.append(error)
    finally:
        sys.settrace(before)
    assert came_out == raised
    return bool(raised)


@pytest.mark.parametrize("name", CALLS)
def test_a_first_call_leaves_all_or_nothing(name: str) -> None:
    with lstmcore.Graph().as_default() as undisturbed:
        want = CALLS[name]()
        want_result, all_variables = want(), variables()
        want_opened = [opened(undisturbed.scopes.names._root)]
        want()  # a later call counts its scope as opened
        want_opened.append(opened(undisturbed.scopes.names._root))
    counts = set()
    for moment in itertools.count():
        with lstmcore.Graph().as_default() as graph:
            call = CALLS[name]()
            before = scopes_now()
            if not interrupted(call, moment):
                break
            assert scopes_now() == before, moment
            made = len(variables())
            counts.add(made)
            result = call()
            assert variables().keys() == all_variables.keys()
            assert opened(graph.scopes.names._root) == want_opened[0] or (
                made and opened(graph.scopes.names._root) == want_opened[1]
            )
            nest.map_structure(np.testing.assert_array_equal, result, want_result)
    assert moment > 100
    assert counts >= {0, len(all_variables)}
    if name not in SEVERAL_CELLS:
        assert counts == {0, len(all_variables)}


@pytest.mark.parametrize("name", CALLS)
def test_a_later_call_changes_nothing(name: str) -> None:
    with lstmcore.Graph().as_default() as graph:
        call = CALLS[name]()
        call()
        want, before, names = call(), variables(), opened(graph.scopes.names._root)
        for moment in itertools.count():
            scopes = scopes_now()
            if not interrupted(call, moment):
                break
            assert scopes_now() == scopes, moment
            assert variables().keys() == before.keys()
            assert opened(graph.scopes.names._root) == names
        nest.map_structure(np.testing.assert_array_equal, call(), want)
    assert moment > 2


class RaisingOnce:
    """An initializer that raises at its n-th call, and draws from then on."""

    def __init__(self, error: BaseException, nth: int) -> None:
        self.error, self.left = error, itertools.count(nth - 1, -1)

    def __call__(self, shape: Any, dtype: Any, partition_info: Any = None) -> np.ndarray:
        if next(self.left) == 0:
            raise self.error
        return drawn(shape, dtype)


RAISING: dict[str, Callable[[Any], Callable[[], Any]]] = {
    "cell": lambda w: step(lstmcore.LSTMCell(H, initializer=w, use_peepholes=True, num_proj=3)),
    "in parts": lambda w: step(lstmcore.LSTMCell(H, initializer=w, num_unit_shards=3)),
    "block cell": lambda w: step_in(
        lstmcore.variable_scope("b", initializer=w),
        lstmcore.LSTMBlockCell(H, use_peephole=True),
    ),
    "automatic reuse": lambda w: step(
        lstmcore.LSTMCell(H, initializer=w, use_peepholes=True, reuse=lstmcore.AUTO_REUSE, name="n")
    ),
    "stack": lambda w: step(
        stack(lstmcore.LSTMCell(H), lstmcore.LSTMCell(H, initializer=w, use_peepholes=True))
    ),
    "stack of own cells": lambda w: step_in(
        lstmcore.variable_scope("b", initializer=w), stack(OwnCell(), PlainOwnCell())
    ),
    "built directly": lambda w: (lambda cell: lambda: cell.build(I))(
        lstmcore.LSTMCell(H, initializer=w, use_peepholes=True)
    ),
    "fused": lambda w: fused_in(lstmcore.variable_scope("b", initializer=w)),
    "get_variable in parts": lambda w: (
        lambda: lstmcore.get_variable(
            "v", [4, 2], initializer=w, partitioner=fixed_size_partitioner(3)
        )
    ),
}


class PlainOwnCell(OwnCell):
    """Takes the scope's initializer."""

    def call(self, inputs: Any, state: Any) -> Any:
        parts = [lstmcore.get_variable(name, [H]).numpy() for name in "xyz"]
        return inputs + sum(parts), state


def step_in(scope: Any, cell: Any) -> Callable[[], Any]:
    def call() -> Any:
        with scope:
            return step(cell)()

    return call


def fused_in(scope: Any) -> Callable[[], Any]:
    cell = lstmcore.LSTMBlockFusedCell(H, use_peephole=True)

    def call() -> Any:
        with scope:
            return cell(X, dtype=np.float32)

    return call


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), ValueError("no")], ids=repr)
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("name", RAISING)
def test_an_initializer_that_raises_once(name: str, nth: int, error: BaseException) -> None:
    with lstmcore.Graph().as_default() as graph:
        RAISING[name](drawn)()
        want, names = variables(), opened(graph.scopes.names._root)
    with lstmcore.Graph().as_default() as graph:
        call = RAISING[name](RaisingOnce(error, nth))
        before = scopes_now(), opened(graph.scopes.names._root)
        with pytest.raises(type(error)) as caught:
            call()
        assert caught.value is error
        assert variables() == {}
        assert graph._kept == []
        assert scopes_now() == before[0]
        assert set(opened(graph.scopes.names._root)[0]) - set(before[1][0]) <= {"b"}
        call()
        assert variables().keys() == want.keys()
        assert opened(graph.scopes.names._root) == names


def test_a_cell_that_failed_is_as_it_was() -> None:
    with lstmcore.Graph().as_default():
        cell = lstmcore.LSTMCell(
            H, initializer=RaisingOnce(ValueError("no"), 2), use_peepholes=True
        )
        x = X[:, 0].astype(np.float64)
        with lstmcore.variable_scope("first"), pytest.raises(ValueError, match="no"):
            cell(x, cell.zero_state(N, np.float64))
        assert (cell.built, cell.weights, cell.dtype) == (False, [], None)
        with pytest.raises(ValueError, match="has not been used yet"):
            cell.scope_name  # noqa: B018
        with lstmcore.variable_scope("second"):
            step(cell)()
        assert cell.scope_name == "second/lstm_cell"
        assert cell.dtype == "float32"


def test_sharing_still_needs_what_is_there() -> None:
    """A failed call with reuse=True makes nothing, and finds it when it is there."""
    with lstmcore.Graph().as_default():
        owner = lstmcore.LSTMCell(H, name="n")
        sharing = lstmcore.LSTMCell(H, name="n", reuse=True)
        with pytest.raises(ValueError, match="does not exist"):
            step(sharing)()
        step(owner)()
        step(sharing)()
        assert [a is b for a, b in zip(owner.weights, sharing.weights, strict=True)] == [True, True]


def test_scopes_left_in_the_wrong_order() -> None:
    with lstmcore.Graph().as_default():
        before = scopes_now()
        outer, inner = lstmcore.variable_scope("outer"), lstmcore.variable_scope("inner")
        outer.__enter__()
        inner.__enter__()
        with pytest.raises(RuntimeError, match="Improper nesting"):
            outer.__exit__()
        assert scopes_now() == before
        error = ValueError("the cause")
        inner.__exit__(ValueError, error, None)  # goes on, and hides nothing
        assert lstmcore.get_variable_scope().name == ""


def test_an_own_cell_may_wait_for_threads_that_build() -> None:
    cells = [lstmcore.LSTMCell(H), lstmcore.LSTMCell(H)]

    class Both(lstmcore.RNNCell):
        state_size = output_size = H

        def call(self, inputs: Any, state: Any) -> Any:
            with ThreadPoolExecutor(2) as pool:
                steps = [
                    pool.submit(cell, inputs, cell.zero_state(N, np.float32)) for cell in cells
                ]
                return sum(s.result(timeout=30)[0] for s in steps), state

    with lstmcore.Graph().as_default():
        cell = Both()
        assert step(cell)()[0].shape == (N, H)
        assert [cell.built for cell in cells] == [True, True]
