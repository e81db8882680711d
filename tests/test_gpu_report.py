"""What of bench/gpu_report.py needs no GPU: its structures, floors, table and documentation."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "bench" / "gpu"))

import abi  # noqa: E402
import document  # noqa: E402
import shapes  # noqa: E402
import table  # noqa: E402
from sections import Report, Section  # noqa: E402


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
    return {"best_us": us, "eager": {"gpu_us": us, "spread": 0.02, "host_us": us + 9, "calls": 100}}


def made_up_report():
    rows = []
    for shape in shapes.SHAPES:
        for k, mode in enumerate(shapes.MODES):
            ours, theirs = 100.0 + k, 250.0 - 50 * k
            rows.append(
                {"shape": shape.name, "mode": mode,
                 "floor_us": 50.0, "target_us": 90.0, "goal": 2.0,
                 "ours": {**measured(ours), "plan": {"path": "cluster"}}, "cudnn": measured(theirs),
                 "ratio": round(theirs / ours, 3), "over_floor": ours / 50}
            )  # fmt: skip
    rows[0]["cudnn"] = None
    del rows[0]["ratio"]
    rows[2]["cudnn_padded_to_8"] = measured(130.0)
    sections = {
        "environment": {"gpu": {"name": "made-up GPU"}, "seconds": 1.0},
        "benchmark": {"rows": rows, "seconds": 2.0, "cut_short": True},
        "sanitizer": {"rows": [{"tool": "racecheck", "clean": None}]},
        "correctness": {"checked": 9, "wrong": 1, "seconds": 3.0},
        "calibrate": {"rows": [{"name": "graph_node", "value": 1.3, "unit": "us"}]},
        "build": {"failed": "ended with 1"},
    }
    return {"date": "2000-01-01", "commit": "abc", "sections": sections}


def test_the_table():
    report = made_up_report()
    text = table.text(report)
    assert "T100 N1 I256 H256" in text
    assert "31 compared: geometric mean" in text
    assert "9 calls compared, 1 wrong" in text
    assert "racecheck did not end" in text
    assert "build: ended with 1" in text
    assert table.ratios(report)["least"] == pytest.approx(100 / 103, abs=1e-3)
    assert table.text({"sections": {}}).startswith("shape")


def test_the_page_states_what_the_report_holds(tmp_path):
    page = document.page({"gpu-x.json": made_up_report()})
    assert "made-up GPU" in page
    assert "| T100 N1 I256 H256 | 50.0 | 100 | cluster | - | - | 2.0 | 109 | - | 2 % |" in page
    assert "130.0 | 1.27" in page
    assert "graph_node | 1.3 | us" in page
    file = tmp_path / "gpu-x.json"
    file.write_text(json.dumps({**made_up_report(), "emulated": True}))
    with pytest.raises(SystemExit, match="emulated"):
        document.write([file], tmp_path)


def test_the_chart(tmp_path):
    pytest.importorskip("matplotlib")
    file = tmp_path / "gpu-x.json"
    file.write_text(json.dumps(made_up_report()))
    document.write([file], tmp_path / "docs")
    assert (tmp_path / "docs" / "images" / "gpu_x_ratios.png").stat().st_size > 5000
    assert (tmp_path / "docs" / "benchmarks-gpu.md").exists()


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


@pytest.mark.skipif("LSTMCORE_EMULATOR" not in os.environ, reason="needs what .ci/cuda builds")
def test_a_run_on_the_emulator(tmp_path):
    folder = Path(os.environ["LSTMCORE_EMULATOR"])
    command = [sys.executable, str(ROOT / "bench" / "gpu_report.py"), "--no-torch"]
    command += ["--library", str(folder / "liblstmcore_cuda_emulated.so")]
    command += ["--cublas", str(folder / "libcublas_emulator.so")]
    command += ["--name", "emulated", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    out = done.stdout
    report = json.loads((tmp_path / "gpu-emulated.json").read_text())
    parts = report["sections"]
    assert set(parts) == {"smoke", "correctness", "determinism", "benchmark"}
    assert all("errors" not in part and "failed" not in part for part in parts.values()), out
    for name in ("smoke", "correctness"):
        assert parts[name]["wrong"] == 0
        assert {row["runs_as"] for row in parts[name]["rows"]} == set(abi.PATHS[1:])
    assert {row["different"] for row in parts["determinism"]["rows"]} == {1}
    assert [row["mode"] for row in parts["benchmark"]["rows"]] == [
        "float32", "tf32", "float16", "bfloat16",
    ]  # fmt: skip
    assert all(row["ours"]["best_us"] > 0 for row in parts["benchmark"]["rows"])
    assert "calls compared, 0 wrong" in out
