"""LSTMCORE_PROFILE: a Chrome trace with one event per native call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CODE = """
import os
import numpy as np
import lstmcore
cell = lstmcore.LSTMCell(24, num_proj=10, dtype="float32")
x = np.ones([7, 3, 5], np.float32)
out, state = cell(x[0], cell.zero_state(3, np.float32))
lstmcore.dynamic_rnn(cell, x, [7, 0, 2], time_major=True, dtype=np.float32)
both = lstmcore.BasicLSTMCell(6, name="a"), lstmcore.BasicLSTMCell(4, name="b")
for _ in range(2):
    lstmcore.bidirectional_dynamic_rnn(*both, x.astype(np.float64), dtype=np.float64)
"""
FORK = """
if os.fork() == 0:
    cell(x[0], state)
    raise SystemExit
os.wait()
cell(x[0], state)
"""


def run(code: str, path: Path | str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LSTMCORE_PROFILE": str(path)}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120
    )


def events(path: Path) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads(path.read_text())
    return loaded


def test_every_call_is_an_event(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    done = run(CODE, path)
    assert (done.returncode, done.stderr) == (0, "")
    step, sequence, *both = events(path)
    assert [e["name"] for e in (step, sequence, *both)] == ["step"] + 5 * ["sequence"]
    # 2 operations a multiply-add: gates from inputs and state, and the projection
    per_row = 2 * (4 * 24 * (5 + 10) + 24 * 10)
    assert step["args"]["flops"] == 3 * per_row
    assert sequence["args"]["flops"] == 9 * per_row
    assert [sequence["args"][k] for k in ("T", "N", "I", "H", "P", "row_steps")] == [
        7,
        3,
        5,
        24,
        10,
        9,
    ]
    assert [(e["args"]["H"], e["args"]["dtype"]) for e in both] == [
        (6, "float64"),
        (4, "float64"),
    ] * 2
    for event in (step, sequence, *both):
        assert event["ph"] == "X"
        assert event["dur"] > 0
        assert 0 < event["args"]["share_of_one_core"] < 8
        rate = event["args"]["flops"] / event["dur"] / 1e3
        assert event["args"]["gflops_per_second"] == pytest.approx(rate, rel=0.05, abs=2e-3)
        assert event["args"]["weight_bytes"] > 0
    begins = [e["ts"] for e in (step, sequence, *both[::2])]
    assert begins == sorted(begins)


def test_nothing_is_written_where_it_is_not_set(tmp_path: Path) -> None:
    assert run(CODE, "").returncode == 0
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "none" / "trace.json"
    done = run(CODE, path)
    assert done.returncode == 0
    warning = f"lstmcore: warning: LSTMCORE_PROFILE={path} cannot be written; nothing is profiled\n"
    assert done.stderr == warning


def test_a_forked_child_writes_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    done = run(CODE + FORK, path)
    assert done.returncode == 0, done.stderr
    child = next(p for p in tmp_path.iterdir() if p != path)
    assert len(events(path)) == 7
    (event,) = events(child)
    assert child.name == f"trace.json.{event['pid']}"
    assert {e["pid"] for e in events(path)} != {event["pid"]}
