"""Running Python in a child process with a forced ISA level, against the library under test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

from lstmcore import _core

# Levels with fused multiply-add; among them results are equal bit for bit.
FMA_LEVELS = ("avx2", "avx512", "neon")


def found_levels() -> list[str]:
    return list(_core.info()["isa_found"])


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``python <arguments>`` that imports what this process imports."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)} | environment
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, timeout=240
    )


def run_limited(limit: float, *arguments: str, **environment: str) -> str:
    """The output of ``python <arguments>``, which fails the test where it fails or takes too long.

    After ``limit`` seconds the process is killed, with all that it has started.
    """
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)} | environment
    child = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, errors = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.kill(child.pid, signal.SIGABRT)  # prints where it hangs
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(2)
        os.killpg(child.pid, signal.SIGKILL)
        out, errors = child.communicate()
        raise AssertionError(f"{arguments}: not done after {limit} s\n{out}\n{errors}") from None
    assert child.returncode == 0, f"{arguments}: {child.returncode}\n{out}\n{errors}"
    return out
