"""Processes that inherit a used library or start their own, and races: each within a time limit."""

from __future__ import annotations

import ctypes
import os
import sys
import sysconfig
from pathlib import Path

import pytest

import subprocesses

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

CASES = (
    "fork",
    "fork_and_warning_as_error",
    "preload",
    "fork_during_calls",
    "fork_in_a_signal_handler",
    "start_methods",
    "race",
    "end_during_calls",
)


def run(case: str) -> None:
    script = Path(__file__).with_name("process_cases.py")
    # The default limits must not hide the threads that children could be waiting for.
    assert subprocesses.run_limited(90, str(script), case) == "ok\n"


@pytest.mark.parametrize("case", CASES)
def test_processes(case: str) -> None:
    if case == "fork_during_calls" and sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("free-threaded: a child may find the interpreter's own object locks taken")
    run(case)


def test_openmp_is_left_to_forked_children() -> None:
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        pytest.skip("no OpenMP runtime here")
    run("openmp_after_a_fork")


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python is not free-threaded"
)
def test_importing_leaves_the_gil_off() -> None:
    assert not sys._is_gil_enabled()
