"""Writes docs/benchmarks-gpu.md and its chart from reports of ``bench/gpu_report.py``.

    python3 bench/gpu/document.py bench/results/gpu-h100.json

Only what a report holds is stated; one of an emulated library is refused. Needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import table

ROOT = Path(__file__).resolve().parents[2]
MODES = {
    "float32": "float32, IEEE",
    "tf32": "float32, TensorFloat-32 allowed",
    "float16": "float16",
    "bfloat16": "bfloat16",
}
COLORS = {"float32": "#1b6ca8", "tf32": "#8e5bb5", "float16": "#3a9d5d", "bfloat16": "#e08e0b"}


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def wall(row: dict[str, Any], part: str) -> str:
    eager = (row.get(part) or {}).get("eager")
    return f"{eager['host_us']:.0f}" if eager else "-"


def noise(row: dict[str, Any]) -> str:
    spreads = [
        part[way]["spread"]
        for part in (row.get("ours"), row.get("cudnn"))
        for way in ("eager", "captured")
        if part and way in part
    ]
    return f"{100 * max(spreads):.0f} %" if spreads else "-"


def mode_table(rows: list[dict[str, Any]]) -> str:
    head = ["shape", "floor", "ours", "path", "cuDNN", "cuDNN / ours", "ours / floor"]
    head += ["host: ours", "host: cuDNN", "noise"]
    body = []
    for row in rows:
        cells = dict(zip(table.HEAD, table.cells(row), strict=True))
        kept = ["shape", "floor", "ours", "path", "cuDNN", "ratio", "over floor"]
        host = [wall(row, "ours"), wall(row, "cudnn"), noise(row)]
        body.append([cells[k] for k in kept] + host)
    return markdown(head, body)


def padded(rows: list[dict[str, Any]]) -> str:
    """cuDNN with one row made eight, which is how float16 reaches its persistent kernel."""
    found = [row for row in rows if table.best(row, "cudnn_padded_to_8")]
    if not found:
        return ""
    body = []
    for row in found:
        theirs, ours = table.best(row, "cudnn_padded_to_8"), table.best(row, "ours")
        ratio = f"{theirs / ours:.2f}" if ours else "-"
        body.append([row["shape"], f"{theirs:.1f}", ratio])
    head = ["shape", "cuDNN, batch padded to 8", "that / ours"]
    return "### One row padded to eight, float16\n\n" + markdown(head, body)


def machine(report: dict[str, Any]) -> str:
    part = report["sections"].get("environment", {})
    gpu, torch = part.get("gpu") or {}, part.get("torch") or {}
    known = {
        "GPU": gpu.get("name"),
        "driver": gpu.get("driver_version"),
        "nvcc": part.get("nvcc"),
        "torch": torch.get("torch"),
        "cuDNN": torch.get("cudnn"),
    }
    return ", ".join(f"{name} {value}" for name, value in known.items() if value)


def constants(report: dict[str, Any]) -> str:
    rows = report["sections"].get("calibrate", {}).get("rows", [])
    if not rows:
        return ""
    body = [[row["name"], f"{row['value']:.4g}", row["unit"]] for row in rows]
    return "### The machine\n\n" + markdown(["measured", "value", "unit"], body)


def one_report(report: dict[str, Any], file: str, chart: str) -> list[str]:
    rows = table.benchmark_rows(report)
    parts = [f"## {machine(report) or file}"]
    parts.append(f"From `bench/results/{file}`, {report['date']}, commit {report.get('commit')}.")
    if summary := table.ratios(report):
        parts.append(
            f"cuDNN's time over ours, over {summary['count']} measurements: geometric mean "
            f"{summary['geometric_mean']:.2f}, least {summary['least']:.2f}."
        )
        parts.append(f"![cuDNN's time over ours](images/{chart})")
    for mode, title in MODES.items():
        if chosen := [row for row in rows if row["mode"] == mode]:
            parts += [f"### {title}", mode_table(chosen)]
    parts += [padded(rows), "### Checks", "\n".join(f"- {x}" for x in table.checks(report))]
    return [part for part in [*parts, constants(report)] if part]


def page(reports: dict[str, dict[str, Any]]) -> str:
    """Of reports by file name."""
    parts = [
        "# Benchmarks on GPUs",
        "Written by `bench/gpu/document.py` from reports of `bench/gpu_report.py`. Microseconds "
        "for a call over all time steps of one layer; the faster of calling and of replaying a "
        "CUDA graph, for ours and for cuDNN (`torch.nn.LSTM`) alike; medians over rotated inputs. "
        "`host` is from the call to its result by the host's clock (ours through the C "
        "interface); `noise` is how far two rounds differ at most. The floor is what an H100's "
        "multiply rates, bandwidths and latencies allow.",
    ]
    for file, report in reports.items():
        parts += one_report(report, file, chart_name(file))
    return "\n\n".join(parts) + "\n"


def chart_name(file: str) -> str:
    return Path(file).stem.replace("-", "_") + "_ratios.png"


def draw(report: dict[str, Any], path: Path) -> None:
    """A group of bars per shape: how many times as long cuDNN takes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [row for row in table.benchmark_rows(report) if "ratio" in row]
    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    figure, axes = plt.subplots(figsize=(8, 0.75 * len(shapes) + 1.2))
    for k, mode in enumerate(MODES):
        for row in rows:
            if row["mode"] != mode:
                continue
            place = len(shapes) - 1 - shapes.index(row["shape"]) + 0.3 - 0.2 * k
            axes.barh(place, row["ratio"], height=0.18, color=COLORS[mode])
            axes.text(
                max(row["ratio"], 1) * 1.03, place, f"{row['ratio']:.2f}", va="center", fontsize=7
            )
        axes.barh(0, 0, color=COLORS[mode], label=MODES[mode])
    axes.set_yticks(range(len(shapes)), shapes[::-1], fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlim(0.4, max(row["ratio"] for row in rows) * 2)
    ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50) if t <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{t:g}x" for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel("time of cuDNN / time of lstmcore")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def write(files: list[Path], docs: Path) -> None:
    reports = {file.name: json.loads(file.read_text(encoding="utf-8")) for file in files}
    for name, report in reports.items():
        if report.get("emulated"):
            raise SystemExit(f"{name}: of an emulated library; it says nothing of a GPU")
    for name, report in reports.items():
        if table.ratios(report):
            draw(report, docs / "images" / chart_name(name))
    (docs / "benchmarks-gpu.md").write_text(page(reports), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", type=Path, nargs="+", help="bench/results/gpu-*.json")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    arguments = parser.parse_args()
    write(arguments.reports, arguments.docs)


if __name__ == "__main__":
    sys.exit(main())
