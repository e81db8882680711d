"""Writes docs/benchmarks-gpu.md and its chart from reports of ``bench/gpu_report.py``.

    python3 bench/gpu/document.py bench/results/gpu-h100.json

Prints the constants for the planner in cuda/plan.cpp, and where its choice was not the fastest;
``--costs`` prints that alone. The page states only what a report holds; one of an emulated library
or without a measurement is refused. Needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import costs
import table

ROOT = Path(__file__).resolve().parents[2]
MODES = {
    "float32": "float32, IEEE",
    "tf32": "float32, TensorFloat-32 allowed",
    "float16": "float16",
    "bfloat16": "bfloat16",
}
# Sphinx takes the page whether or not docs/index.md lists it.
ORPHAN = "---\norphan: true\n---"
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


def each_way(row: dict[str, Any], part: str) -> list[str]:
    """Its time as called and as a graph."""
    found = [(row.get(part) or {}).get(way) for way in ("eager", "captured")]
    return [table.us(measured["gpu_us"]) if measured else "-" for measured in found]


def mode_table(rows: list[dict[str, Any]]) -> str:
    head = ["shape", "floor", "path", "ours", "ours, graph", "cuDNN", "cuDNN, graph"]
    head += ["cuDNN / ours", "ours / floor", "host: ours", "host: cuDNN", "noise"]
    body = []
    for row in rows:
        cells = dict(zip(table.HEAD, table.cells(row), strict=True))
        host = [wall(row, "ours"), wall(row, "cudnn"), noise(row)]
        first = [cells["shape"], cells["floor"], cells["path"]]
        ways = [*each_way(row, "ours"), *each_way(row, "cudnn")]
        body.append([*first, *ways, cells["ratio"], cells["over floor"], *host])
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
    gpu = (part.get("gpus") or [{}])[0]
    torch = report["sections"].get("benchmark", {}).get("torch") or {}
    known = {
        "GPU": gpu.get("name"),
        "driver": gpu.get("driver_version"),
        "nvcc": part.get("nvcc"),
        "torch": torch.get("torch"),
        "cuDNN": torch.get("cudnn"),
    }
    return ", ".join(f"{name} {value}" for name, value in known.items() if value)


def paths(report: dict[str, Any]) -> str:
    """Every path that can run a shape, where the planner had a choice."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in costs.paths(report):
        found.setdefault((one.shape, one.mode), {})[one.path] = one
    body = []
    for (shape, mode), by_path in found.items():
        if len(by_path) < 2:
            continue
        cells = []
        for path in ("stepwise", "block", "cluster", "grid"):
            one = by_path.get(path)
            text = "-" if one is None else f"{one.measured:.2f} ({one.predicted:.2f})"
            cells.append(f"**{text}**" if one and one.chosen else text)
        body.append([shape, mode, *cells])
    if not body:
        return ""
    text = (
        "### The paths\n\nMicroseconds of a step as measured, in parentheses as the planner "
        "reckoned without the products of the inputs; bold is its choice.\n\n"
    )
    return text + markdown(["shape", "mode", "stepwise", "block", "cluster", "grid"], body)


def kernels(rows: list[dict[str, Any]]) -> str:
    """What torch's profiler saw of one call of cuDNN: which of its algorithms ran."""
    body = []
    for row in rows:
        for part, what in (("cudnn", "cuDNN"), ("cudnn_padded_to_8", "cuDNN, padded to 8")):
            names = (row.get(part) or {}).get("kernels") or []
            if names:
                first = names[0]
                body.append(
                    [
                        row["shape"],
                        row["mode"],
                        what,
                        f"`{first['name'][:70]}`",
                        str(first["count"]),
                    ]
                )
    if not body:
        return ""
    head = ["shape", "mode", "of", "kernel that takes longest", "launches"]
    return "### Kernels of cuDNN\n\n" + markdown(head, body)


def size_of(row: dict[str, Any]) -> str:
    return " ".join(f"{name}{value}" for name, value in zip("TNIH", row["size"], strict=True))


def others(report: dict[str, Any]) -> str:
    """Sections of rows that have few numbers each."""
    sections, parts = report["sections"], []
    if rows := sections.get("overlap", {}).get("rows"):
        body = [[row["name"], f"{row['value']:.4g}", row["unit"]] for row in rows]
        parts.append(
            "### Overlap of kernels inside a graph\n\n" + markdown(["", "value", "unit"], body)
        )
    if rows := sections.get("products", {}).get("rows"):
        body = [
            [f"{row['cublas'] or 'none'}", size_of(row), row["mode"], f"{row['gpu_us']:.0f}"]
            for row in rows
        ]
        head = ["cuBLAS", "shape", "mode", "stepwise, microseconds"]
        parts.append("### Stepwise with each cuBLAS\n\n" + markdown(head, body))
    if rows := sections.get("interop", {}).get("rows"):
        body = [
            [row["arrays"], "x".join(map(str, row["size"])), f"{row.get('call_us', '-')}",
             f"{row.get('enqueue_us', '-')}", f"{row['worst']:.1e}"]
            for row in rows
        ]  # fmt: skip
        head = [
            "arrays",
            "batch x time x units",
            "call, us",
            "until it returns, us",
            "from the CPU",
        ]
        parts.append("### Calls from Python\n\n" + markdown(head, body))
    return "\n\n".join(parts)


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
    parts += [padded(rows), kernels(rows), paths(report), others(report)]
    parts += ["### Checks", "\n".join(f"- {x}" for x in table.checks(report)), constants(report)]
    return [part for part in parts if part]


def page(reports: dict[str, dict[str, Any]]) -> str:
    """Of reports by file name."""
    parts = [
        ORPHAN,
        "# Benchmarks on GPUs",
        "Written by `bench/gpu/document.py` from reports of `bench/gpu_report.py`. Microseconds "
        "for a call over all time steps of one layer, as called and as the replay of a CUDA graph; "
        "ratios are of the faster of both, for ours and for cuDNN (`torch.nn.LSTM`) alike; medians "
        "over rotated inputs. "
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
            axes.barh(place, row["ratio"] - 1, left=1, height=0.18, color=COLORS[mode])
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


def load(file: Path) -> dict[str, Any]:
    """SystemExit where it cannot be read or is something else."""
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SystemExit(f"{file}: {error.strerror}") from None
    except ValueError:  # no JSON, or no text
        report = None
    parts = report.get("sections") if isinstance(report, dict) else None
    if not isinstance(parts, dict) or "date" not in report:
        raise SystemExit(f"{file} is no report of bench/gpu_report.py")
    return report


def is_measured(report: dict[str, Any]) -> bool:
    """Whether there is a number for the page."""
    if any(table.best(row, "ours") for row in table.benchmark_rows(report)):
        return True
    parts = ("calibrate", "overlap", "products", "interop")
    return any(report["sections"].get(part, {}).get("rows") for part in parts)


def why_nothing(report: dict[str, Any]) -> str:
    """The first thing that went wrong, of a report without a measurement."""
    for name, part in report["sections"].items():
        for error in part.get("errors", []):
            return f"{name}: {error['error']}"
        if "failed" in part:
            return f"{name}: {part['failed']}"
    return "no phase that measures has run"


def write(files: list[Path], docs: Path) -> None:
    reports = {file.name: load(file) for file in files}
    for name, report in reports.items():
        if report.get("emulated"):
            raise SystemExit(f"{name}: of an emulated library; it says nothing of a GPU")
        if not is_measured(report):
            why = why_nothing(report)
            raise SystemExit(f"{name} holds no measurement ({why}); nothing written")
    for name, report in reports.items():
        if table.ratios(report):
            draw(report, docs / "images" / chart_name(name))
    (docs / "benchmarks-gpu.md").write_text(page(reports), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", type=Path, nargs="+", help="bench/results/gpu-*.json")
    parser.add_argument(
        "--docs", type=Path, default=ROOT / "docs",
        help="the folder for benchmarks-gpu.md and images/ (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--costs",
        action="store_true",
        help="print the planner's constants alone, and write nothing",
    )
    arguments = parser.parse_args()
    if not arguments.costs:
        write(arguments.reports, arguments.docs)
    for file in arguments.reports:
        print(costs.text(load(file)))


if __name__ == "__main__":
    sys.exit(main())
