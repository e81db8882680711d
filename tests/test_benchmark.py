"""The side-by-side benchmark measures what it says: cases, floors, checks, ratios."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import reference
from lstmcore.benchmark import cases, engines, measure, report, worker
from lstmcore.benchmark import reference as exact
from lstmcore.benchmark.cases import Case, Ceilings, Variant

CEILINGS = Ceilings(100.0, {16: 400.0, 1024: 100.0, 16384: 50.0})
SMALL = [Case(0, 3, 5, 4), Case(6, 3, 5, 4), Case(6, 2, 5, 4, layers=2)]
SMALL += [Case(6, 3, 5, 4, bidirectional=True), Case(6, 3, 5, 4, ragged=True)]


def test_floor_of_a_step():
    # 8 N H (I + H) = 8 * 8 * 256 * 512 operations at 100 GFLOP/s; its 2 MiB take 26 us to read
    assert cases.floor(Case(0, 8, 256, 256), CEILINGS, 1) == pytest.approx(83.9e-6, rel=1e-3)
    # one row: 2 MiB at 84 GB/s, a quarter of the way (by the logarithm) from 1 to 16 MiB
    size, bandwidth = 4 * 4 * 256 * 512, 100 - 50 / 4
    step = cases.floor(Case(0, 1, 256, 256), CEILINGS, 1)
    assert step == pytest.approx(size / bandwidth / 1e9)


def test_floor_of_a_sequence():
    project = 2 * 100 * 4 * 256 * 40 / 100e9  # more than reading W once takes
    recur = 100 * 4 * 4 * 256 * 256 / 100e9  # 1 MiB a step
    assert cases.floor(Case(100, 1, 40, 256), CEILINGS, 1) == pytest.approx(project + recur)
    two = Case(100, 1, 256, 256, layers=2)
    assert cases.floor(two, CEILINGS, 1) == pytest.approx(
        2 * cases.floor(Case(100, 1, 256, 256), CEILINGS, 1)
    )
    # half the weights for each of two threads are in a faster cache
    assert cases.floor(Case(100, 1, 40, 256), CEILINGS, 2) < project + recur


def test_ragged_cases_have_half_the_steps():
    lengths = cases.make_inputs(cases.RAGGED[0]).lengths
    assert lengths.max() == 100
    assert lengths.min() == 1
    assert lengths.mean() == pytest.approx(50.5, abs=0.5)


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_reference_is_that_of_the_tests(case):
    inputs = cases.make_inputs(case)
    y, runs = inputs.x, worker.CHECKED_STEPS
    if case.is_step:
        y = np.repeat(y, runs, axis=0)
    for directions in inputs.layers:
        parts = []
        for k, w in enumerate(directions):
            cell = reference.Cell(np.concatenate([w.W, w.R]), w.b, forget_bias=0.0)
            batch_major = y.swapaxes(0, 1)
            result = reference.forward(cell, batch_major, lengths=inputs.lengths, reverse=bool(k))
            parts.append(result.y.swapaxes(0, 1))
        y = np.concatenate(parts, axis=2)
    expected = exact.expected(case, inputs, runs)
    np.testing.assert_allclose(expected, y[-1] if case.is_step else y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_lstmcore_and_numpy_are_right(case):
    inputs = cases.make_inputs(case)
    expected = exact.expected(case, inputs, worker.CHECKED_STEPS)
    found = 0
    for engine in ("lstmcore", "numpy"):
        module = __import__(f"lstmcore.benchmark.engines.{engine}", fromlist=["variants"])
        for variant in module.variants(case, inputs, 1).values():
            found += 1
            assert worker.error_of(case, inputs, variant, expected) < 1e-6
    assert found >= (1 if case.ragged else 2)


def test_seconds_per_run():
    runs = []
    variant = Variant(runs.append, lambda: np.zeros(1))
    assert 0 < worker.seconds_per_run(variant, 1e-4) < 1e-3
    assert sum(runs) > 10


class FakeWorker:
    """Answers as a worker does, with an error and a time that the test chooses."""

    def __init__(self, engine, error, seconds):
        self.engine, self.threads, self._error, self._seconds = engine, 1, error, seconds

    def ask(self, do, **request):
        if do == "build":
            if isinstance(self._error, str):
                raise RuntimeError(self._error)
            return {"only": self._error}
        return self._seconds


def test_a_wrong_engine_is_reported_and_not_ranked():
    workers = [
        FakeWorker("lstmcore", 1e-7, 2e-6),
        FakeWorker("fast and wrong", 1e-3, 1e-6),
        FakeWorker("broken", "no such operation", 1e-6),
        FakeWorker("peer", 2e-7, 5e-6),
    ]
    rows = measure.measure_case(Case(0, 1, 8, 8), workers, rounds=3, seconds=0.01)
    failed = {row["engine"]: row["failed"] for row in rows if "failed" in row}
    assert failed == {"fast and wrong": "error 0.001", "broken": "no such operation"}
    (line,) = report.summary(rows, 1, CEILINGS)
    assert line["best_peer"]["engine"] == "peer"
    assert line["ratio"] == pytest.approx(2.5)
    assert line["over_floor"] == pytest.approx(2e-6 / cases.floor(line["case"], CEILINGS, 1))
    assert "B1 I8 H8" in report.text([line], 1)
    assert "2.50" in report.text([line], 1)


def test_figures_as_text():
    assert [report.duration(s) for s in (1.234e-6, 56.78e-6, 1e-3, 0.0123, 1.5, None)] == [
        "1.23", "56.8", "1000", "12.3k", "1500k", "-",
    ]  # fmt: skip
    assert report.geometric_mean([2.0, None, 8.0]) == pytest.approx(4)
    assert report.geometric_mean([]) is None


def test_a_worker_that_cannot_start_says_why():
    command = [sys.executable, "-m", "lstmcore.benchmark.worker"]
    with pytest.raises(RuntimeError, match="No module named"):
        measure.Worker("nothing", 1, command, {})


def test_worker_process_measures():
    command = [sys.executable, "-m", "lstmcore.benchmark.worker"]
    process = measure.Worker("lstmcore", 1, command, {})
    try:
        errors = process.ask(do="build", case=SMALL[0].as_dict())
        assert set(errors) == {"cell", "step_into"}
        assert process.ask(do="time", variant="cell", seconds=0.001) > 0
        assert len(process.ask(do="each", variant="cell", runs=5)) == 5
        with pytest.raises(RuntimeError, match="KeyError"):
            process.ask(do="time", variant="none", seconds=0.001)
    finally:
        process.close()


def test_command_line(tmp_path, monkeypatch, capsys):
    from lstmcore.app import cli

    monkeypatch.setattr(cases, "QUICK", SMALL[:2])
    monkeypatch.setattr(engines, "REQUIRES", {"lstmcore": "lstmcore", "numpy": "numpy"})
    path = tmp_path / "result.json"
    assert cli.main(["bench", "--quick", "--threads", "1", "--json", str(path)]) == 0
    output = capsys.readouterr().out
    assert "1 thread, microseconds" in output
    assert "T6 B3 I5 H4" in output
    rows = json.loads(path.read_text())["rows"]
    assert {row["engine"] for row in rows} == {"lstmcore", "numpy"}
    assert all(row["median"] > 0 for row in rows)
    assert cli.main(["bench", "--quick", "--json", str(tmp_path / "no" / "file")]) == 3


def test_importing_lstmcore_does_not_import_it():
    code = "import sys, lstmcore; print([m for m in sys.modules if 'benchmark' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
