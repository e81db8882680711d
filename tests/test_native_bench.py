"""lstmcore-bench, where Google Benchmark is installed: its counters against each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **env},
    )


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    cmake = Path(sys.executable).parent / "cmake"  # of the `test` extra
    options = ["-DLSTMCORE_PYTHON=OFF", "-DLSTMCORE_BENCH=ON", "-DLSTMCORE_WERROR=ON"]
    options += ["-DLSTMCORE_CUDA=OFF"]
    configured = run(cmake, "-S", ROOT, "-B", folder, *options)
    if "Google Benchmark is not there" in configured.stderr:
        pytest.skip("Google Benchmark is not installed (Debian: libbenchmark-dev)")
    assert configured.returncode == 0, configured.stderr
    built = run(cmake, "--build", folder, "--parallel", "2", "--target", "lstmcore-bench")
    assert built.returncode == 0, built.stderr
    return folder / "lstmcore-bench"


def test_counters_agree(program: Path) -> None:
    pattern = "^float32/(step/N:8/I:256/H:256|sequence/T:40/N:10/I:300/H:128)/threads:1/"
    done = run(program, f"--benchmark_filter={pattern}", "--benchmark_format=json",
               "--benchmark_min_time=0.05")  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["context"]["isa"] in ("generic", "avx2", "avx512", "neon")
    step, sequence = report["benchmarks"]
    for result, row_steps, inputs, units in ((step, 8, 256, 256), (sequence, 400, 300, 128)):
        operations = 8 * row_steps * units * (inputs + units)
        seconds = result["real_time"] * 1e-9
        assert result["GFLOP/s"] == pytest.approx(operations / seconds / 1e9, rel=0.01)
        # a floor that is bound by multiply-adds, as both are, is the share of the peak
        assert result["of_floor"] == pytest.approx(result["share_of_peak"], rel=0.05)
        assert 0.05 < result["share_of_peak"] < 1.2
    weights = 4 * 4 * 256 * 512
    assert step["GB/s"] == pytest.approx(weights / (step["real_time"] * 1e-9) / 1e9, rel=0.01)


def test_every_part_is_measured(program: Path) -> None:
    names = run(program, "--benchmark_list_tests").stdout
    for part in ("float32/step/", "float64/step/", "float32/sequence/", "gemm_core/"):
        assert part in names
    pattern = "^(gemm_core/rows_I/6/256|activation/tanh|barrier)"
    done = run(program, f"--benchmark_filter={pattern}", "--benchmark_format=json",
               "--benchmark_min_time=0.01")  # fmt: skip
    gemm, activation, barrier = json.loads(done.stdout)["benchmarks"]
    assert 0.05 < gemm["share_of_peak"] < 1.2
    assert 0.01 < activation["ns_per_value"] < 100
    assert barrier["ns_per_phase"] < 1e7


def test_wrong_use(program: Path) -> None:
    done = run(program, LSTMCORE_FORCE_ISA="nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert "LSTMCORE_FORCE_ISA" in done.stderr
    assert run(program, "--nonsense").returncode == 2


START = """
import sys
from pathlib import Path
from lstmcore.app import native_bench
native_bench.PROGRAM = Path(sys.argv.pop())
sys.argv[0] = "lstmcore-bench"
sys.exit(native_bench.main())
"""


def test_the_command_becomes_the_program(tmp_path: Path) -> None:
    stand_in = tmp_path / "program"
    stand_in.write_text('#!/bin/sh\necho "$@"\nexit 7\n')
    stand_in.chmod(0o755)
    done = run(sys.executable, "-c", START, "--benchmark_filter=x y", stand_in)
    assert (done.returncode, done.stdout) == (7, "--benchmark_filter=x y\n")


def test_the_command_where_the_program_was_not_built(tmp_path: Path) -> None:
    done = run(sys.executable, "-c", START, tmp_path / "program")
    assert (done.returncode, done.stdout) == (4, "")
    assert "libbenchmark-dev" in done.stderr
