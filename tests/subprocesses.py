"""Running Python in a child process with a forced ISA level, against the library under test."""

from __future__ import annotations

import os
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
