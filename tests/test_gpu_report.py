"""What of bench/gpu_report.py needs no GPU: its structures, floors, table and documentation."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "bench" / "gpu"))

import abi  # noqa: E402
import calibration  # noqa: E402
import costs  # noqa: E402
import document  # noqa: E402
import shapes  # noqa: E402
import table  # noqa: E402


def test_structures_are_those_of_the_c_header(tmp_path):
    lines = ['#include "lstmcore/cuda_abi.h"', "#include <stdio.h>", "int main(void) {"]
    want = {}
    for name, structure in abi.STRUCTURES.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        want[name] = ctypes.sizeof(structure)
        for field, *_ in structure._fields_:
            lines.append(f'printf("{name}.{field} %zu\\n", offsetof({name}, {field}));')
            want[f"{name}.{field}"] = getattr(structure, field).offset
    (tmp_path / "sizes.cpp").write_text("\n".join([*lines, "return 0; }"]))
    program = tmp_path / "sizes"
    include = str(ROOT / "include")
    subprocess.run(["c++", "-I", include, tmp_path / "sizes.cpp", "-o", program], check=True)
    out = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert {n: int(v) for n, v in (line.split() for line in out.splitlines())} == want
    assert len(want) > 60


# Of each shape: bfloat16, tf32, float32, in whole microseconds; worked out by hand.
FLOORS = ((22, 22, 23), (26, 26, 28), (43, 46, 54), (40, 55, 245), (161, 295, 1816),
          (282, 551, 3592), (282, 551, 3592), (220, 220, 220))  # fmt: skip


@pytest.mark.parametrize(("shape", "want"), list(zip(shapes.SHAPES, FLOORS, strict=True)))
def test_floors_and_targets(shape, want):
    got = [shapes.floor_us(shape, mode) for mode in ("bfloat16", "tf32", "float32")]
    assert got == pytest.approx(want, abs=0.55, rel=2e-3)
    assert shapes.floor_us(shape, "float16") == got[0]
    for mode in shapes.MODES:
        assert shapes.floor_us(shape, mode) < shape.target_us(mode)
        assert shapes.goal(shape, mode) >= 1


def test_what_does_not_fit_on_chip_is_read_from_l2():
    large = shapes.Shape(100, 1, 64, 4096, False, (0, 0, 0))
    assert shapes.floor_us(large, "float32") > 100 * (4 * 4096**2 * 4 - 48.6e6) / 5.5e12 * 1e6


def measured(us):
    eager = {"gpu_us": us, "spread": 0.02, "host_us": us + 9, "calls": 100}
    return {"best_us": us, "eager": eager, "captured": {**eager, "gpu_us": us + 1}}


def plan(path, us):
    return {"path": path, "kernel": "fma", "rows_per_group": 4, "estimated_step_us": us}


def made_up_report():
    rows = []
    for shape in shapes.SHAPES:
        for k, mode in enumerate(shapes.MODES):
            ours, theirs = 100.0 + k, 250.0 - 50 * k
            rows.append(
                {"shape": shape.name, "mode": mode,
                 "floor_us": 50.0, "target_us": 90.0, "goal": 2.0,
                 "ours": {**measured(ours), "plan": plan("cluster", 0.9), "paths": {}},
                 "cudnn": {**measured(theirs), "kernels": [{"name": "RNN_x", "count": 2, "us": 9}]},
                 "ratio": round(theirs / ours, 3), "over_floor": ours / 50}
            )  # fmt: skip
    rows[0]["cudnn"] = None
    del rows[0]["ratio"]
    rows[2]["cudnn_padded_to_8"] = measured(130.0)
    rows[5]["ours"]["paths"] = {"grid": {**measured(51.0), "plan": plan("grid", 1.5)}}
    rows[6]["ours"]["paths"] = {"grid": {**measured(99.5), "plan": plan("grid", 1.5)}}
    sections: dict = {
        "environment": {"gpus": [{"name": "made-up GPU"}], "seconds": 1.0},
        "benchmark": {"rows": rows, "seconds": 2.0, "cut_short": True},
        "sanitizer": {
            "rows": [
                {
                    "tool": "racecheck",
                    "what": "grid",
                    "clean": None,
                    "right": False,
                    "reason": "late",
                },
                {"tool": "memcheck", "what": "grid", "clean": False, "right": True, "reason": ""},
                {"tool": "memcheck", "what": "block", "clean": True, "right": True, "reason": ""},
            ]
        },
        "correctness": {
            "checked": 9,
            "wrong": 1,
            "without_result": 2,
            "seconds": 3.0,
            "lost": [{"what": "T3 grid", "family": "grid", "why": "ended by SIGABRT"}],
        },
        "calibrate": {
            "rows": [{"name": "graph_node", "value": 1.3, "unit": "us"}],
            "costs": {"clock_ghz": 1.98, "full_clusters": 6.0, "grid_us": 0.75},
        },
        "overlap": {"rows": [{"name": "fused_serial", "value": 2.5, "unit": "us"}]},
        "products": {
            "rows": [{"cublas": 0, "size": [1, 2, 3, 4], "mode": "tf32", "gpu_us": 812.3}]
        },
        "interop": {"rows": [{"arrays": "jax", "size": [1, 2, 3], "worst": 1e-6, "ok": True}]},
        "build": {"failed": "ended with 1"},
    }
    return {"date": "2000-01-01", "commit": "abc", "sections": sections}


def test_the_table():
    report = made_up_report()
    text = table.text(report)
    assert "T100 N1 I256 H256" in text
    assert "31 compared: geometric mean" in text
    assert "9 calls compared, 1 wrong" in text
    assert "2 WITHOUT A RESULT; T3 grid: ended by SIGABRT" in text
    assert "racecheck clean in 0 of 1; racecheck grid did not end" in text
    assert "memcheck clean in 1 of 2; memcheck grid FOUND ERRORS" in text
    assert "build: ended with 1" in text
    assert table.ratios(report)["least"] == pytest.approx(100 / 103, abs=1e-3)
    assert table.text({"sections": {}}).startswith("shape")
    parts = list(report["sections"])
    assert table.failed(report, parts) == ["sanitizer", "correctness", "build"]
    assert table.failed(report, ["environment", "smoke"]) == []
    for name in parts:  # of a phase that did not even begin
        assert f"{name}: ended with 1" in table.text(
            {"sections": {name: {"failed": "ended with 1"}}}
        )


def test_the_page_states_what_the_report_holds(tmp_path):
    page = document.page({"gpu-x.json": made_up_report()})
    assert page.startswith("---\norphan: true\n---\n\n# Benchmarks on GPUs\n")
    assert "made-up GPU" in page
    line = "| T100 N1 I256 H256 | 50.0 | cluster | 100 | 101 | - | - | - | 2.0 | 109 | - | 2 % |"
    assert line in page
    assert "| T100 N1 I512 H512 | tf32 | - | - | **1.01 (0.90)** | 0.51 (1.50) |" in page
    assert "`RNN_x` | 2 |" in page
    assert "fused_serial | 2.5 | us" in page
    assert "| none | T1 N2 I3 H4 | tf32 | 812 |" in page
    assert "| jax | 1x2x3 | - | - | 1.0e-06 |" in page
    assert "130.0 | 1.27" in page
    assert "graph_node | 1.3 | us" in page
    file = tmp_path / "gpu-x.json"
    file.write_text(json.dumps({**made_up_report(), "emulated": True}))
    with pytest.raises(SystemExit, match="emulated"):
        document.write([file], tmp_path)


NOTHING = {"environment": {"rows": []}, "benchmark": {"rows": [{"ours": None}]}}
NVCC = {"what": "cmake", "error": "RuntimeError: no nvcc", "where": "x"}


@pytest.mark.parametrize(("content", "says"), [
    (None, "gpu-x.json: No such file or directory"),
    ("no JSON", "gpu-x.json is no report of bench/gpu_report.py"),
    ("[1]", "gpu-x.json is no report of bench/gpu_report.py"),
    ('{"sections": [], "date": "x"}', "gpu-x.json is no report of bench/gpu_report.py"),
    ({}, "gpu-x.json holds no measurement (no phase that measures has run); nothing written"),
    (NOTHING, "gpu-x.json holds no measurement (no phase that measures has run); nothing written"),
    ({"smoke": {"failed": "ended with 1"}},
     "gpu-x.json holds no measurement (smoke: ended with 1); nothing written"),
    ({"build": {"errors": [NVCC], "failed": "ended with 1"}},
     "gpu-x.json holds no measurement (build: RuntimeError: no nvcc); nothing written"),
])  # fmt: skip
def test_what_cannot_be_a_page_is_refused(tmp_path, content, says):
    file = tmp_path / "gpu-x.json"
    if isinstance(content, dict):
        file.write_text(json.dumps({"date": "2000-01-01", "sections": content}))
    elif content is not None:
        file.write_text(content)
    script = ROOT / "bench" / "gpu" / "document.py"
    command = [sys.executable, script, file, "--docs", tmp_path / "docs"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.removeprefix(f"{tmp_path}/") == f"{says}\n"
    assert not (tmp_path / "docs").exists()


def test_the_chart(tmp_path):
    pytest.importorskip("matplotlib")
    file = tmp_path / "gpu-x.json"
    file.write_text(json.dumps(made_up_report()))
    document.write([file], tmp_path / "docs")
    assert (tmp_path / "docs" / "images" / "gpu_x_ratios.png").stat().st_size > 5000
    assert (tmp_path / "docs" / "benchmarks-gpu.md").exists()


def test_costs_to_paste():
    source = costs.PLAN.read_text()
    measured = dict.fromkeys(costs.fields(source), 3.25)
    assert costs.fields(source)["clock_ghz"] > 1
    pasted = source.replace(costs.declaration(source), costs.initialiser(measured, source))
    assert costs.fields(pasted) == {**measured, "full_clusters": 3}
    assert costs.unmeasured({"clock_ghz": 1}, source) == list(costs.fields(source))[1:]
    # Nothing is proposed that the planner does not have.
    constants = dict.fromkeys((
        "clock", "block_exchange", "block_tiny_step", "block_large_call", "stepwise_fused_call",
        "stepwise_gates_step", "mma_bfloat16", "l2_read_mb_8", "gemm_float64_256x4096x1024",
        "active_clusters_of_16_with_200_kb"), 1.0)  # fmt: skip
    constants |= {f"cluster_push_blocks_16_words_{n}": 0.2 + n / 1e4 for n in (256, 1024)}
    constants |= {f"all_gather_blocks_128_words_{n}": 0.6 + n / 1e4 for n in (1024, 8192)}
    found = calibration.proposals(constants)
    assert set(found) <= set(costs.fields(source))
    assert found["cluster_us"] == pytest.approx(0.2)
    assert found["grid_bytes"] == pytest.approx(
        4 / 0.1e-3 / 1e3
    )  # 0.1 ns a word of 4 bytes at 1 GHz


def test_where_the_planner_erred():
    report = made_up_report()
    ((chosen, fastest),) = costs.mistakes(report)  # rows[6] is within the noise
    assert (chosen.path, fastest.path, fastest.measured) == ("cluster", "grid", 0.51)
    assert (chosen.shape, chosen.mode, chosen.predicted) == ("T100 N1 I512 H512", "tf32", 0.9)
    text = costs.text(report)
    assert "clock_ghz = 1.98;" in text
    assert "int full_clusters = 6;" in text
    assert "faster than the chosen one in 1 cases" in text
    assert "cluster fma 4 1.01 us, grid fma 4 0.51 us, 1.98 times as much" in text
    row = {
        "shape": "T100 N1 I256 H256",
        "mode": "tf32",
        "plan": {**plan("grid", 1.0), "kernel": "mma"},
    }
    report["sections"]["variants"] = {"rows": [{**row, "best_us": 20.0}]}
    assert [fastest.kernel for _, fastest in costs.mistakes(report)] == ["mma", "fma"]
