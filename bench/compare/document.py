"""docs/benchmarks.md from a result file."""

from __future__ import annotations

from typing import Any

from lstmcore.benchmark import report
from lstmcore.benchmark.cases import Case, Ceilings

ENGINES = ["onednn", "onnxruntime", "openvino", "torch", "tensorflow", "numpy"]
NAMES = {
    "onednn": "oneDNN native",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "torch": "PyTorch",
    "tensorflow": "TensorFlow",
    "numpy": "NumPy",
    "lstmcore": "lstmcore",
}
NOISE = 0.9  # a ratio above it is within the noise of the machine


def ceilings_of(result: dict[str, Any], threads: int) -> Ceilings:
    found = result["ceilings"][str(threads)]
    return Ceilings(found["gflops"], {int(kib): v for kib, v in found["bandwidth"].items()})


def lines_of(result: dict[str, Any], threads: int) -> list[dict[str, Any]]:
    return report.summary(result["rows"], threads, ceilings_of(result, threads))


def threads_of(result: dict[str, Any]) -> list[int]:
    return sorted(int(count) for count in result["ceilings"])


def table(header: list[str], rows: list[list[str]]) -> str:
    marks = ["---"] + ["--:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, marks, *rows])


def _case_row(line: dict[str, Any]) -> list[str]:
    peers = line["peers"]
    best = line["best_peer"]

    def cell(engine: str) -> str:
        text = report.duration(peers[engine]["median"]) if engine in peers else "-"
        return f"*{text}*" if best and best["engine"] == engine else text

    value = report.ratio(line["ratio"])
    lost = line["ratio"] is not None and line["ratio"] < 1
    return [
        line["case"].name,
        report.duration(line["floor"]),
        f"**{report.duration(line['ours']['median'])}**",
        f"{100 * report.spread(line['ours']):.0f} %",
        *(cell(engine) for engine in ENGINES),
        f"{value} (lost)" if lost else f"**{value}**",
        report.ratio(line["over_floor"]),
    ]


def case_table(lines: list[dict[str, Any]]) -> str:
    header = ["case", "floor", "lstmcore", "spread", *(NAMES[e] for e in ENGINES)]
    header += ["best peer / ours", "ours / floor"]
    return table(header, [_case_row(line) for line in lines])


def is_python(line: dict[str, Any]) -> dict[str, Any]:
    """The line without oneDNN, which is not called from Python."""
    peers = {name: row for name, row in line["peers"].items() if name != "onednn"}
    best = min(peers.values(), key=lambda row: row["median"], default=None)
    ratio = best and best["median"] / line["ours"]["median"]
    return {**line, "peers": peers, "best_peer": best, "ratio": ratio}


def _tensorflow_ratio(result: dict[str, Any], line: dict[str, Any], threads: int) -> float | None:
    for row in result["rows"]:
        same = Case(**row["case"]) == line["case"] and row["threads"] == threads
        if same and "session" in row["variant"] and row["engine"] == "tensorflow":
            first = row.get("seconds") or [None]
            seconds = row["median"] if len(first) > 1 else first[0]
            return seconds and seconds / line["ours"]["median"]
    return None


def targets(result: dict[str, Any]) -> str:
    """The figures that the project aims at."""
    rows: list[list[str]] = []

    def add(what: str, threads: Any, aim: str, got: str) -> None:
        rows.append([what, str(threads), aim, got])

    for threads in threads_of(result):
        lines = lines_of(result, threads)
        regular = [line for line in lines if not line["case"].ragged]
        least = min(regular, key=lambda line: line["ratio"] or 9e9)
        add(
            "least best peer / ours of all shapes",
            threads,
            "1.0",
            f"{report.ratio(least['ratio'])} ({least['case'].name})",
        )
        sequences = [line["ratio"] for line in regular if not line["case"].is_step]
        add(
            "geometric mean, sequences",
            threads,
            "1.2" if threads == 1 else "1.4",
            report.ratio(report.geometric_mean(sequences)),
        )
        steps = [is_python(line)["ratio"] for line in regular if line["case"].is_step]
        add(
            "geometric mean, steps from Python",
            threads,
            "1.8" if threads == 1 else "2.0",
            report.ratio(report.geometric_mean(steps)),
        )
        long = [x for x in regular if not x["case"].is_step and x["case"].num_units >= 128]
        worst = max(long, key=lambda line: line["over_floor"], default=None)
        if worst:
            add(
                "most ours / floor, sequences with H >= 128",
                threads,
                "1.20" if threads == 1 else "1.25",
                f"{report.ratio(worst['over_floor'])} ({worst['case'].name})",
            )
        for aim, chosen, what in (
            ("50", [x for x in regular if x["case"].is_step and x["case"].num_units <= 128
                    and x["case"].batch == 1], "steps with B = 1, H <= 128"),
            ("2", regular, "all shapes"),
        ):  # fmt: skip
            ratios = [r for x in chosen if (r := _tensorflow_ratio(result, x, threads))]
            if ratios:
                add(
                    f"least TensorFlow's BasicLSTMCell in a session / ours, {what}",
                    threads,
                    aim,
                    report.ratio(min(ratios)),
                )
    return table(["what", "threads", "aim", "measured"], rows)


def busy_table(result: dict[str, Any]) -> str:
    rows = [
        [
            "none" if row["busy_core"] is None else str(row["busy_core"]),
            f"{NAMES[row['engine']]} {row['variant']}",
            *(report.duration(row[key]) for key in ("median", "p99", "worst")),
            f"{row['worst'] / row['median']:.0f}",
        ]
        for row in result["busy"]
    ]
    return table(["busy core", "engine", "median", "99 %", "worst", "worst / median"], rows)


def ragged_table(result: dict[str, Any]) -> str:
    rows = [
        [
            Case(**row["case"]).name,
            str(row["threads"]),
            report.duration(row["seconds"]),
            report.duration(row["packed"]),
            report.duration(row["even"]),
            report.ratio(row["seconds"] / row["even"]),
            report.ratio(row["packed"] / row["even"]),
        ]
        for row in result["ragged"]
    ]
    return table(
        ["case", "threads", "padded", "packed", "even rows", "padded / even", "packed / even"], rows
    )


def page(result: dict[str, Any], file: str) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{NAMES[e]} {v}" for e, v in result["versions"].items())
    errors = [r["error"] for r in result["rows"] if r["engine"] == "lstmcore" and "error" in r]
    failed = sorted(
        {
            f"{NAMES[r['engine']]} {r['variant']}: {r['failed']}"
            for r in result["rows"]
            if "failed" in r
        }
    )
    parts = [
        "# Benchmarks",
        f"Written by `bench/compare/run.py` from `bench/results/{file}`, measured {result['date']} "
        f"on {machine['cpu']}, {machine['threads']} cores, {machine['isa']}.",
        f"Versions: {versions}.",
        "All engines compute the same float32 numbers: each variant is checked against float64 "
        "before it is timed. They take turns in random order in one run, each in a process of its "
        "own, and the figures are medians in microseconds (k: thousands) of an engine's fastest "
        "variant; `spread` is (slowest - fastest round) / median of ours. A step carries its state "
        "from call to call and is called from Python, but for oneDNN's, which has no Python in it. "
        "The floor is what the measured peak and cache bandwidth of this machine allow. The best "
        "peer is in italics. Differences under 10 % are noise on a shared machine.",
    ]
    for threads in threads_of(result):
        lines = lines_of(result, threads)
        plural = "s" if threads > 1 else ""
        parts.append(f"## {threads} thread{plural}")
        for title, chosen in (
            ("Steps", [x for x in lines if x["case"].is_step]),
            ("Sequences", [x for x in lines if not x["case"].is_step]),
        ):
            if chosen:
                parts += [f"### {title}", case_table(chosen)]
        parts.append(f"![best peer / lstmcore per shape](images/benchmark_ratios_{threads}.png)")
    parts += ["![latency of a step against batch](images/benchmark_latency.png)"]
    parts += ["## Against the aims", targets(result)]
    parts.append(f"Largest error of lstmcore against float64 over all shapes: {max(errors):.1e}.")
    if "busy" in result:
        parts += [
            "## With a busy core",
            "One process spins on one core; 2 threads, step B8 I256 H256, 4900 calls in a row. The "
            "scheduler's slices of 4 ms are what the worst calls wait for.",
            busy_table(result),
            "## Ragged batches",
            "Lengths from 1 to T, half of it on average: `dynamic_rnn` with `sequence_length` "
            "(padded, whose outputs past the lengths are zeros to be written) and `packed_rnn`, "
            "against as many steps in rows of equal length.",
            ragged_table(result),
            "![ragged batches](images/benchmark_ragged.png)",
            "## Starting",
            f"Import over NumPy {result['cold']['import_seconds'] * 1e3:.0f} ms; installed "
            f"{result['cold']['installed_bytes'] / 1e6:.1f} MB; peak memory of a 512-512 layer "
            f"{result['cold']['memory_over_weights']:.2f} times its weights.",
        ]
    if failed:
        parts += ["## Left out", "\n".join(f"- {line}" for line in failed)]
    return "\n\n".join(parts) + "\n"
