"""Signals during long native calls: answered at once, with every state what it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import interrupt_cases
import subprocesses

SCRIPT = str(Path(__file__).with_name("interrupt_cases.py"))


@pytest.mark.parametrize("threads", ["1", "2"])
def test_long_calls_answer_ctrl_c(threads: str) -> None:
    """Within 100 ms on a machine that is not busy; a busy one takes its time to run anything."""
    answers = json.loads(subprocesses.run_limited(150, SCRIPT, "answers", threads))
    assert answers.keys() == interrupt_cases.CALLS.keys()
    assert max(answers.values()) < 1, answers


@pytest.mark.parametrize(
    "case",
    [
        "handlers_that_return",
        "exceptions_of_handlers",
        "types_of_refusals",
        "other_threads_go_on",
        "both_threads_at_once",
        "steps_in_place",
    ],
)
def test_signals(case: str) -> None:
    subprocesses.run_limited(90, SCRIPT, case, "2")
