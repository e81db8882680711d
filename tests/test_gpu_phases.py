"""How bench/gpu_report.py goes from phase to phase: what hangs, dies or is missing, and timing.

On a machine without a GPU: with programs made up here, and on the emulator of tests/cuda.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "bench" / "gpu"), str(ROOT / "bench")]

import abi  # noqa: E402
import benchmark  # noqa: E402
import build  # noqa: E402
import device  # noqa: E402
import layer  # noqa: E402
import processes  # noqa: E402
import programs  # noqa: E402
import shapes  # noqa: E402
import timing  # noqa: E402
from sections import AGAIN, Report, Section, read_trying  # noqa: E402

import gpu_report  # noqa: E402


def test_a_report_keeps_what_it_has(tmp_path, capsys):
    path = tmp_path / "report.json"
    section = Section(Report(path), "part", 0.0)
    section.row(value=1)
    assert section.attempt("division", lambda: 1 / 0) is None
    kept = json.loads(path.read_text())["sections"]["part"]
    assert kept["rows"] == [{"value": 1}]
    assert kept["errors"][0]["what"] == "division"
    assert not section.enough()
    assert section.data["cut_short"]
    Section(Report(path), "another", 5).finish()
    assert set(json.loads(path.read_text())["sections"]) == {"part", "another"}


def test_a_phase_that_starts_again_passes_over_what_it_lost(tmp_path):
    path = tmp_path / "report.json"
    section = Section(Report(path), "part", 5)
    section.row(value=1)
    seen = []
    assert section.attempt("outer", lambda: section.attempt("inner", lambda: seen.append(
        read_trying(path)), family="grid") or read_trying(path)) == ("outer", "")  # fmt: skip
    assert seen == [("inner", "grid")]
    report = Report(path)
    report.data["sections"]["part"]["lost"] = [{"what": "a", "family": "grid", "why": "x"}]
    report.save()
    again = Section(Report(path), "part", 5, again=True)
    assert again.has_row(value=1)
    assert again.attempt("a", lambda: 1) is None
    assert again.attempt("b", lambda: 1, family="grid") == 1
    again.data["lost"] *= 3  # so many of one family are enough
    assert again.attempt("b", lambda: 1, family="grid") is None
    assert again.attempt("b", lambda: 1, family="block") == 1
    assert Section(Report(path), "part", 5).data["rows"] == []


@pytest.mark.parametrize(("message", "ends"), [
    ("forward: cudaErrorIllegalAddress: x; CUDA works again when the process is restarted", True),
    ("CUDA error: an illegal memory access was encountered", True),
    ("CUDA error: unspecified launch failure", True),
    ("CUDA out of memory", False),
])  # fmt: skip
def test_a_process_in_which_cuda_is_dead_ends(tmp_path, message, ends):
    code = f"""if 1:
        import sys
        sys.path.insert(0, {str(ROOT / "bench" / "gpu")!r})
        from sections import Report, Section
        from pathlib import Path
        section = Section(Report(Path({str(tmp_path / "report.json")!r})), "part", 5)
        def work():
            raise RuntimeError({message!r})
        section.attempt("a case", work)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == (AGAIN if ends else 0)
    report = json.loads((tmp_path / "report.json").read_text())
    assert message in report["sections"]["part"]["errors"][0]["error"]
    assert (read_trying(tmp_path / "report.json")[0] == "a case") == ends


def test_a_program_that_hangs_ends_with_its_children(tmp_path):
    pid = tmp_path / "pid"
    done = processes.run(["sh", "-c", f"sleep 600 & echo $! > {pid}; echo begun; wait"], 0.7)
    assert done.code is None
    assert done.reason == "stopped after 1 s"
    assert done.output == "begun\n"
    child = Path(f"/proc/{pid.read_text().strip()}/stat")
    end = time.monotonic() + 20
    while child.exists() and child.read_text().split()[2] != "Z":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert processes.run(["sleep", "600"], 60, stalled=lambda: "no sign").reason == "no sign"
    assert processes.run(["sh", "-c", "kill -ABRT $$"], 60).reason == "ended by SIGABRT"
    assert processes.run(["sh", "-c", "exit 3"], 60).reason == "ended with 3"
    assert processes.run(["true"], 60).reason == ""


@pytest.mark.parametrize(("output", "code", "clean", "right"), [
    ("tiny: done\n========= ERROR SUMMARY: 0 errors\n", 0, True, True),
    ("tiny: done\n========= ERROR SUMMARY: 2 errors\n", 9, False, True),
    ("========= RACECHECK SUMMARY: 1 hazard displayed\n", 9, False, False),
    ("tiny: wrong in grid\n========= ERROR SUMMARY: 0 errors\n", 1, True, False),
    ("12 checks, 0 failures\n========= RACECHECK SUMMARY: 0 hazards\n", 0, True, True),
    ("tiny: done\n", 0, None, True),
    ("========= ERROR SUMMARY: 0 errors\n", None, None, False),
])  # fmt: skip
def test_what_a_sanitizer_says(output, code, clean, right):
    verdict = programs.verdict(processes.Done(code, output))
    assert (verdict["clean"], verdict["right"]) == (clean, right)


def test_a_machine_that_lacks_tools(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_PATH", str(tmp_path))
    monkeypatch.setattr(build, "tool", lambda name: None)
    section = Section(Report(tmp_path / "report.json"), "build", 20)
    with pytest.raises(RuntimeError, match="there is no library"):
        build.build(section, tmp_path / "empty")
    for name in ("nvcc", "compute-sanitizer"):
        with pytest.raises(RuntimeError, match=name):
            if name == "nvcc":
                build.nvcc()
            else:
                programs.sanitizer(section, tmp_path, tmp_path / "x.so", quick=False)
    # What somebody else has built is taken as it is.
    library = build.library_in(tmp_path / "carried")
    library.parent.mkdir(parents=True)
    library.write_bytes(b"1234")
    build.build(section, tmp_path / "carried")
    assert section.data["library_bytes"] == 4
    assert section.data["errors"]
    # And so are the programs, with or without success.
    for test, status in zip(build.TESTS, (0, 1, 77, 0, 0), strict=True):
        program = tmp_path / "carried" / "tests" / test
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho ran {test}\nexit {status}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    section = Section(Report(tmp_path / "report.json"), "device_tests", 20)
    programs.device_tests(section, tmp_path / "carried")
    assert [row["passed"] for row in section.data["rows"]] == [True, False, False, True, True]
    assert section.data["rows"][2]["reason"] == "skipped: there is no GPU"
    assert not section.data["passed"]


def test_a_build_for_no_gpu_wants_an_architecture(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(build, "tool", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["build.py", str(tmp_path / "built")])
    with pytest.raises(SystemExit) as refused:
        build.main()
    assert refused.value.code == (
        "no GPU found (nvidia-smi, torch); name an architecture with --architecture 90a"
    )
    assert not (tmp_path / "built").exists()
    # Nor is there a traceback where the tools are missing.
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--architecture", "90a"])
    with pytest.raises(SystemExit) as refused:
        build.main()
    assert refused.value.code.endswith(f"errors: {tmp_path / 'built' / 'build.json'}")
    assert "RuntimeError: nvcc is neither on PATH" in capsys.readouterr().out


def test_without_a_gpu_nothing_is_run_or_written(tmp_path):
    (tmp_path / "gpu-report.json").write_text("earlier")
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "gpu_report.py", "--out", tmp_path],
        capture_output=True, text=True, timeout=120, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("There is no NVIDIA GPU: ")
    assert "NVIDIA's driver" in done.stderr
    assert "bench/gpu/build.py FOLDER --architecture 90a" in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [
        ("gpu-report.json", "earlier")
    ]


def test_a_second_run_keeps_the_report_of_the_first(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(device, "why_no_gpu", str)
    monkeypatch.setattr(processes, "stop_all_on_terminate", lambda: None)
    codes = {"smoke": 1}
    monkeypatch.setattr(
        gpu_report, "start", lambda _, name, *rest, **more: processes.Done(codes.get(name, 0), "")
    )
    file, old = tmp_path / "gpu-x.json", tmp_path / "gpu-x.json.old"
    words = ["--name", "x", "--out", str(tmp_path)]
    assert not gpu_report.run_all(gpu_report.parse(words))  # smoke failed
    assert "not well: smoke" in capsys.readouterr().out
    first = file.read_text()
    assert not old.exists()
    assert not gpu_report.run_all(gpu_report.parse(words))
    assert old.read_text() == first
    assert f"the earlier report is now {old}" in capsys.readouterr().out
    # Of one that goes on with the report, only its own phases count.
    second = json.loads(file.read_text())
    assert gpu_report.run_all(gpu_report.parse([*words, "--phases", "calibrate"]))
    assert json.loads(file.read_text())["sections"] == second["sections"]
    assert old.read_text() == first


def test_every_device_test_is_run():
    cmake = (ROOT / "tests" / "cuda" / "CMakeLists.txt").read_text()
    (names,) = re.findall(r"foreach\(test ([\w ]+)\)\n +add_executable\(\$\{test\}_device", cmake)
    assert tuple(f"{name}_device" for name in names.split()) == build.TESTS


class FakeCuda:
    """As much of torch.cuda as is asked for, with a clock that a call moves on."""

    clock_ms, streams = 0.0, 0

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = FakeCuda.clock_ms

        def elapsed_time(self, end):
            return end.at - self.at

    class Stream:
        cuda_stream = 0

        def __init__(self):
            FakeCuda.streams += 1
            self.cuda_stream = 100 + FakeCuda.streams

    class CUDAGraph:
        def replay(self):
            FakeCuda.clock_ms += 0.001

    class graph:
        def __init__(self, graph, stream, capture_error_mode):
            assert capture_error_mode == "thread_local"
            self.stream = stream

        def __enter__(self):
            self.before, FakeCuda.current = FakeCuda.current, self.stream

        def __exit__(self, *_):
            FakeCuda.current = self.before

    current = None

    def synchronize(self):
        pass

    def set_stream(self, stream):
        FakeCuda.current = stream

    def current_stream(self):
        return FakeCuda.current


def test_times_come_from_events_as_called_and_from_graphs(monkeypatch):
    fake = type("torch", (), {"cuda": FakeCuda()})
    monkeypatch.setitem(sys.modules, "torch", fake)
    timer = timing.TorchTimer()
    assert timer.current_stream() == 101
    streams, order = [], []

    def call(k):
        def work():
            FakeCuda.clock_ms += 0.004 + 0.002 * k
            streams.append(timer.current_stream())
            order.append(k)

        return work

    calls = [call(k) for k in range(3)]
    measured = timing.measure(timer, calls, 10.0)
    assert measured["gpu_us"] == pytest.approx(6.0)
    assert measured["calls"] == 100
    assert order[:12] == [0, 1, 2] * 4  # every set of inputs in its turn
    assert set(streams) == {101}
    streams.clear()
    assert timing.measure(timer, timer.captured(calls), 10.0)["gpu_us"] == pytest.approx(1.0)
    assert streams == [102, 103, 104]  # captured once each, on the stream of the capture


needs_emulator = pytest.mark.skipif(
    "LSTMCORE_EMULATOR" not in os.environ, reason="needs what .ci/cuda builds"
)


def run_emulated(script, folder, out, *more, code=0):
    command = [sys.executable, str(script), "--emulated", "--name", "emulated", "--out", str(out)]
    command += ["--library", str(folder / "liblstmcore_cuda_emulated.so")]
    command += ["--cublas", str(folder / "libcublas_emulator.so"), "--limit", "800", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, json.loads((out / "gpu-emulated.json").read_text())


@needs_emulator
def test_a_run_on_the_emulator(tmp_path):
    folder = Path(os.environ["LSTMCORE_EMULATOR"])
    out, report = run_emulated(ROOT / "bench" / "gpu_report.py", folder, tmp_path)
    parts = report["sections"]
    assert set(parts) == {"smoke", "correctness", "determinism", "benchmark", "products"}
    assert all("errors" not in part and "failed" not in part for part in parts.values()), out
    for name in ("smoke", "correctness"):
        assert parts[name]["wrong"] == 0
        assert {row["runs_as"] for row in parts[name]["rows"]} == set(abi.PATHS[1:])
    assert {row["different"] for row in parts["determinism"]["rows"]} == {1}
    assert [row["mode"] for row in parts["benchmark"]["rows"]] == [
        "float32", "tf32", "float16", "bfloat16",
    ]  # fmt: skip
    assert all(row["ours"]["best_us"] > 0 for row in parts["benchmark"]["rows"])
    assert {row["cublas"] > 0 for row in parts["products"]["rows"]} == {True, False}
    assert {row["device"] for row in parts["smoke"]["rows"]} == {0, 1}
    assert "calls compared, 0 wrong" in out


FAULTS = """
import os, sys, time
sys.path.insert(0, {bench!r})
import gpu_report, layer, products

run = layer.Call.run
def faulty(self, stream=0):
    which = (self.args.steps, self.layer.dtype, self.args.path)
    if which == (2, "float16", 4) and not self.args.c0:
        time.sleep(1000)
    if which == (2, "float32", 3):
        os.abort()
    if which == (3, "bfloat16", 3) and self.x.shape[2] == 3:
        raise RuntimeError("illegal address; CUDA works again when the process is restarted")
    run(self, stream)

def crash(*_):
    raise ValueError("a phase that is broken")

layer.Call.run = faulty
products.products = crash
gpu_report.STALLED = dict.fromkeys(gpu_report.STALLED, 6)
gpu_report.main()
"""


@needs_emulator
def test_hangs_and_crashes_lose_no_more_than_their_cases(tmp_path):
    script = tmp_path / "faulty.py"
    script.write_text(FAULTS.format(bench=str(ROOT / "bench")))
    folder = Path(os.environ["LSTMCORE_EMULATOR"])
    phases = ("--phases", "correctness", "benchmark", "products")
    out, report = run_emulated(script, folder, tmp_path, *phases, code=1)
    parts = report["sections"]
    correctness = parts["correctness"]
    assert correctness["wrong"] == 0
    whys = {(entry["family"], entry["why"]) for entry in correctness["lost"]}
    assert whys == {("cluster", "ended by SIGABRT"), ("grid", "no sign of life for 6 s")}
    assert len(correctness["lost"]) == 4  # three of a path are enough to leave it alone
    without = [row["path"] for row in correctness["rows"] if row["error"] is None]
    assert correctness["without_result"] == len(without) > 6
    assert set(without) <= {"auto", "cluster", "grid"}
    right = {row["runs_as"] for row in correctness["rows"] if row["ok"]}
    assert {"stepwise", "block"} <= right
    assert "failed" not in correctness
    rows = parts["benchmark"]["rows"]
    assert [row["mode"] for row in rows] == list(shapes.MODES)
    assert "illegal address" in rows[3]["errors"]["cluster"]
    assert set(rows[3]["ours"]["paths"]) == set(rows[2]["ours"]["paths"]) - {"cluster"}
    assert parts["products"]["failed"] == "ended with 1"
    assert "a phase that is broken" in parts["products"]["errors"][0]["error"]
    assert "WITHOUT A RESULT" in out
    assert "not well: products" in out
    # Once more, that phase alone, and one that runs only when it is named: the others stay.
    _, after = run_emulated(
        ROOT / "bench" / "gpu_report.py", folder, tmp_path, "--phases", "products", "variants"
    )
    assert after["sections"]["correctness"] == correctness
    assert after["sections"]["products"]["rows"]
    assert "failed" not in after["sections"]["products"]
    plans = [row["plan"] for row in after["sections"]["variants"]["rows"]]
    assert {plan["path"] for plan in plans} == {"block", "cluster", "grid"}
    kinds = {(plan["kernel"], plan["rows_per_group"]) for plan in plans}
    assert kinds == {("fma", 1), ("mma", 8)}


@pytest.mark.parametrize("mode", shapes.MODES)
def test_torch_is_given_the_same_layer(mode):
    torch = pytest.importorskip("torch")
    shape = shapes.Shape(6, 3, 5, 11, True, (1, 1, 1))
    cell = layer.random_cell(shape.I, shape.H, layer.Options(forget_bias=0.0), "float32", 7)
    values = [np.random.default_rng(k).normal(size=(6, 3, 5)) for k in range(2)]
    timer = timing.HostTimer(lambda: None)
    timer.torch = torch

    def attempt(what, work):
        return work()

    found = benchmark._cudnn(shape, mode, cell, values, timer, attempt)
    want = layer.reference.forward(cell, values[0].transpose(1, 0, 2)).y.transpose(1, 0, 2)
    error = np.linalg.norm(found["y"] - want) / np.linalg.norm(want)
    assert error < {"float32": 1e-6, "tf32": 1e-3, "float16": 3e-3, "bfloat16": 2e-2}[mode]
    assert found["best_us"] == found["eager"]["gpu_us"] > 0
