"""The short table at the end of a report."""

from __future__ import annotations

import math
from typing import Any

HEAD = ("shape", "mode", "floor", "target", "ours", "path", "cuDNN", "ratio", "goal", "over floor")


def benchmark_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    return report.get("sections", {}).get("benchmark", {}).get("rows", [])


def best(row: dict[str, Any], part: str) -> float | None:
    return (row.get(part) or {}).get("best_us")


def us(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def cells(row: dict[str, Any]) -> list[str]:
    """As text, in the order of ``HEAD``; microseconds."""

    plan = (row.get("ours") or {}).get("plan") or {}
    return [
        row["shape"],
        row["mode"],
        us(row["floor_us"]),
        us(row["target_us"]),
        us(best(row, "ours")),
        plan.get("path", "-"),
        us(best(row, "cudnn")),
        f"{row['ratio']:.2f}" if "ratio" in row else "-",
        f"{row['goal']:g}",
        f"{row['over_floor']:.1f}" if "over_floor" in row else "-",
    ]


def ratios(report: dict[str, Any]) -> dict[str, float] | None:
    """Geometric mean and least of cuDNN's time over ours; None where nothing was compared."""
    found = [row["ratio"] for row in benchmark_rows(report) if "ratio" in row]
    if not found:
        return None
    mean = math.exp(sum(map(math.log, found)) / len(found))
    return {"count": len(found), "geometric_mean": mean, "least": min(found)}


def checks(report: dict[str, Any]) -> list[str]:
    """A line for each section: what it found, or why there is nothing."""
    lines = []
    for name, part in report.get("sections", {}).items():
        notes = []
        if "checked" in part:
            notes.append(f"{part['checked']} calls compared, {part['wrong']} wrong")
        if part.get("without_result"):
            notes.append(f"{part['without_result']} WITHOUT A RESULT")
        if name == "determinism":
            different = sum(row["different"] != 1 for row in part.get("rows", []))
            notes.append(f"{len(part.get('rows', []))} calls repeated, {different} not the same")
        if name == "sanitizer":
            notes += sanitized(part.get("rows", []))
        if name == "device_tests":
            bad = [row for row in part.get("rows", []) if not row["passed"]]
            notes += [f"{row['test']} {row['reason']}" for row in bad]
        if name == "interop" and (bad := [row for row in part.get("rows", []) if not row["ok"]]):
            notes.append(f"{len(bad)} NOT RIGHT, the first: {bad[0]['arrays']}")
        if "passed" in part:
            notes.append("passed" if part["passed"] else "FAILED")
        for entry in part.get("lost", []):
            notes.append(f"{entry['what']}: {entry['why']}")
        if part.get("errors"):
            notes.append(f"{len(part['errors'])} errors, the first: {part['errors'][0]['what']}")
        if part.get("cut_short"):
            notes.append("cut short")
        if "failed" in part:
            notes.append(part["failed"])
        lines.append(f"{name}: {'; '.join(notes) or 'done'} ({part.get('seconds', '?')} s)")
    return lines


def failed(report: dict[str, Any], phases: list[str]) -> list[str]:
    """Those of the phases that did not end well, or found something wrong."""
    bad = []
    for name in phases:
        part = report["sections"].get(name, {})
        rows = part.get("rows", [])
        wrong = part.get("wrong") or part.get("passed") is False
        if name == "determinism":
            wrong = any(row["different"] != 1 for row in rows)
        if name == "interop":
            wrong = any(not row["ok"] for row in rows)
        if name == "sanitizer":
            wrong = any(row["clean"] is False or not row["right"] for row in rows)
        if wrong or "failed" in part:
            bad.append(name)
    return bad


def sanitized(rows: list[dict[str, Any]]) -> list[str]:
    """A note for each tool, and for each program in which it found something or did not end."""
    notes = []
    for tool in dict.fromkeys(row["tool"] for row in rows):
        of_tool = [row for row in rows if row["tool"] == tool]
        clean = sum(row["clean"] is True for row in of_tool)
        notes.append(f"{tool} clean in {clean} of {len(of_tool)}")
        for row in of_tool:
            if row["clean"] is not True:
                said = "did not end" if row["clean"] is None else "FOUND ERRORS"
                notes.append(f"{tool} {row['what']} {said}")
            elif not row["right"]:
                notes.append(f"{tool} {row['what']}: results not right, {row['reason']}")
    return notes


def text(report: dict[str, Any]) -> str:
    rows = [list(HEAD), *(cells(row) for row in benchmark_rows(report))]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEAD))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    if summary := ratios(report):
        lines.append(
            f"{summary['count']} compared: geometric mean {summary['geometric_mean']:.2f}, "
            f"least {summary['least']:.2f}"
        )
    return "\n".join([*lines, *checks(report)])
