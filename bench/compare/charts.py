"""The charts of docs/benchmarks.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import document
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from lstmcore.benchmark.cases import Case

OURS, LOST, GREY = "#1b6ca8", "#c0392b", "#8a8f98"
PEERS = {
    "onednn": "#e08e0b",
    "onnxruntime": "#3a9d5d",
    "openvino": "#8e5bb5",
    "torch": "#d4543c",
    "tensorflow": "#7f5539",
    "numpy": GREY,
}


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def ratios(result: dict[str, Any], threads: int, path: Path) -> None:
    """A bar per shape: how many times as long the best peer takes."""
    lines = [line for line in document.lines_of(result, threads) if line["ratio"]]
    figure, axes = plt.subplots(figsize=(8, 0.32 * len(lines) + 1.2))
    for k, line in enumerate(reversed(lines)):
        value, lost = line["ratio"], line["ratio"] < 1
        axes.barh(k, value, color=LOST if lost else OURS, height=0.7)
        name = document.NAMES[line["best_peer"]["engine"]]
        axes.text(max(value, 1) * 1.03, k, f"{value:.2f}  {name}", va="center", fontsize=8)
    axes.set_yticks(range(len(lines)), [x["case"].name for x in reversed(lines)], fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_ylim(-0.6, len(lines) - 0.4)
    axes.set_xscale("log")
    most = max(line["ratio"] for line in lines)
    axes.set_xlim(0.5, most * 2.5)
    ticks = [t for t in (0.5, 1, 2, 5, 10, 20) if t <= most * 2]
    axes.set_xticks(ticks, [f"{t:g}x" for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel("time of the best other engine / time of lstmcore")
    plural = "s" if threads > 1 else ""
    axes.set_title(f"{threads} thread{plural}; red: another engine is faster", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def latency(result: dict[str, Any], path: Path) -> None:
    """A step at H = 256 against its batch, on one thread and on all."""
    counts = document.threads_of(result)
    figure, panels = plt.subplots(1, len(counts), figsize=(4.6 * len(counts), 3.6), sharey=True)
    for axes, threads in zip(panels if len(counts) > 1 else [panels], counts, strict=True):
        lines = document.lines_of(result, threads)
        chosen = [x for x in lines if x["case"].is_step and x["case"].num_units == 256]
        chosen.sort(key=lambda line: line["case"].batch)
        batches = [line["case"].batch for line in chosen]
        for engine, color in PEERS.items():
            points = [(x["case"].batch, x["peers"][engine]["median"] * 1e6)
                      for x in chosen if engine in x["peers"]]  # fmt: skip
            if points:
                axes.plot(*zip(*points, strict=True), "o-", color=color, markersize=3,
                          linewidth=1, label=document.NAMES[engine])  # fmt: skip
        axes.plot(batches, [x["ours"]["median"] * 1e6 for x in chosen], "o-", color=OURS,
                  linewidth=2.5, label="lstmcore")  # fmt: skip
        axes.plot(batches, [x["floor"] * 1e6 for x in chosen], ":", color="black", label="floor")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(batches, [str(b) for b in batches])
        axes.set_xlabel("batch")
        axes.set_title(f"step I256 H256, {threads} thread{'s' if threads > 1 else ''}", fontsize=10)
        axes.grid(alpha=0.3)
    first = panels[0] if len(counts) > 1 else panels
    first.set_ylabel("microseconds")
    last = panels[-1] if len(counts) > 1 else panels
    last.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    _save(figure, path)


def ragged(result: dict[str, Any], path: Path) -> None:
    """Time of a ragged batch, padded and packed, over that of as many steps in even rows."""
    rows = list(reversed(result["ragged"]))
    figure, axes = plt.subplots(figsize=(7, 0.42 * len(rows) + 1.2))
    for shift, key, color in ((0.2, "seconds", OURS), (-0.2, "packed", "#3a9d5d")):
        for k, row in enumerate(rows):
            value = row[key] / row["even"]
            label = {"seconds": "dynamic_rnn with lengths", "packed": "packed_rnn"}[key]
            axes.barh(k + shift, value, color=color, height=0.38, label=label if k == 0 else None)
            axes.text(value + 0.01, k + shift, f"{value:.2f}", va="center", fontsize=7)
    labels = [
        f"{Case(**r['case']).name}, {r['threads']} thread{'s' if r['threads'] > 1 else ''}"
        for r in rows
    ]
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.axvline(2, color=GREY, linewidth=0.8, linestyle=":")
    axes.text(1.98, len(rows) - 0.4, "padding computed", ha="right", fontsize=8, color=GREY)
    axes.set_xlim(0, 2.1)
    axes.set_ylim(-0.6, len(rows) + 0.1)
    axes.set_xlabel("ragged batch / as many steps in rows of equal length")
    axes.legend(fontsize=8, loc="lower right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def draw(result: dict[str, Any], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for threads in document.threads_of(result):
        ratios(result, threads, folder / f"benchmark_ratios_{threads}.png")
    latency(result, folder / "benchmark_latency.png")
    if "ragged" in result:
        ragged(result, folder / "benchmark_ragged.png")
