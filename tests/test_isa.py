"""Every ISA level this machine has passes the numeric suite; a level it lacks is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import subprocesses

NUMERIC_SUITE = (
    "test_numeric_core.py",
    "test_core_edges.py",
    "test_activations.py",
    "test_golden.py",
    "test_lstm_model.py",
    "test_load.py",
)


@pytest.mark.skipif("LSTMCORE_FORCE_ISA" in os.environ, reason="already runs at one forced level")
@pytest.mark.parametrize("level", subprocesses.found_levels())
def test_numeric_suite(level: str) -> None:
    if level == subprocesses.found_levels()[-1]:
        pytest.skip("this level is in use: its suite runs in this process")
    folder = Path(__file__).parent
    files = [str(folder / name) for name in NUMERIC_SUITE]
    child = subprocesses.run(
        "-m", "pytest", "-x", "-p", "no:cacheprovider", *files, LSTMCORE_FORCE_ISA=level
    )
    assert child.returncode == 0, child.stdout + child.stderr


SHOW_ISA = "from lstmcore import _core; i = _core.info(); print(i['isa'], i['isa_forced'])"


@pytest.mark.parametrize("level", subprocesses.found_levels())
def test_forced_level_is_used(level: str) -> None:
    child = subprocesses.run("-c", SHOW_ISA, LSTMCORE_FORCE_ISA=level)
    assert child.stdout.split() == [level, "True"], child.stderr


def test_best_level_is_the_default() -> None:
    child = subprocesses.run("-c", SHOW_ISA, LSTMCORE_FORCE_ISA="")
    assert child.stdout.split() == [subprocesses.found_levels()[-1], "False"], child.stderr


@pytest.mark.parametrize("level", ["sse9", "AVX2", "avx2 ", "neon", "avx512"])
def test_missing_level_is_an_error(level: str) -> None:
    if level in subprocesses.found_levels():
        pytest.skip(f"this machine has {level}")
    code = (
        "import numpy as np\nfrom lstmcore import _core\n"
        "_core.Lstm(np.zeros((5, 8), 'f'), np.zeros(8, 'f'), num_units=2)"
    )
    child = subprocesses.run("-c", code, LSTMCORE_FORCE_ISA=level)
    assert child.returncode != 0
    assert f"LSTMCORE_FORCE_ISA={level}, but this CPU and build have" in child.stderr
