"""What the planner reckons with, beside what was measured: constants to paste, its mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from abi import ROOT

PLAN = ROOT / "cuda" / "plan.cpp"
_FIELD = re.compile(r"\b([a-z_0-9]+) = ([0-9.]+)")


def declaration(source: str) -> str:
    """``struct Costs`` as it stands in cuda/plan.cpp."""
    return re.search(r"^struct Costs \{\n.*?^\};", source, re.DOTALL | re.MULTILINE)[0]


def fields(source: str) -> dict[str, float]:
    return {name: float(value) for name, value in _FIELD.findall(declaration(source))}


def initialiser(measured: dict[str, float], source: str) -> str:
    """The declaration with what was measured in place of what is there, to paste."""

    def of_line(line: str) -> str:
        whole = line.lstrip().startswith("int ")

        def value(match: re.Match[str]) -> str:
            if match[1] not in measured:
                return match[0]
            new = measured[match[1]]
            return f"{match[1]} = {round(new) if whole else f'{new:.4g}'}"

        return _FIELD.sub(value, line)

    return "\n".join(map(of_line, declaration(source).splitlines()))


def unmeasured(measured: dict[str, float], source: str) -> list[str]:
    return [name for name in fields(source) if name not in measured]


@dataclass(frozen=True)
class Measured:
    """One path of a shape and mode: microseconds of a step, as reckoned and as measured.

    What was measured has its part of the products of all inputs in it, which no path is without.
    """

    shape: str
    mode: str
    path: str
    kernel: str
    rows: int
    predicted: float
    measured: float
    chosen: bool


def steps_of(shape: str) -> int:
    return int(re.match(r"T(\d+)", shape)[1])


def paths(report: dict[str, Any]) -> Iterator[Measured]:
    sections = report.get("sections", {})
    for row in sections.get("benchmark", {}).get("rows", []):
        ours = row.get("ours") or {}
        if "best_us" in ours:
            yield _measured(row, ours, chosen=True)
        for part in ours.get("paths", {}).values():
            yield _measured(row, part)


def variants(report: dict[str, Any]) -> Iterator[Measured]:
    """The same paths with every kernel and size of a group, where the report has them."""
    for row in report.get("sections", {}).get("variants", {}).get("rows", []):
        yield _measured(row, row)


def _measured(row: dict[str, Any], part: dict[str, Any], chosen: bool = False) -> Measured:
    plan, step = part["plan"], part["best_us"] / steps_of(row["shape"])
    return Measured(
        row["shape"], row["mode"], plan["path"], plan.get("kernel", "auto"),
        plan.get("rows_per_group", 0), plan["estimated_step_us"], step, chosen,
    )  # fmt: skip


def mistakes(report: dict[str, Any]) -> list[tuple[Measured, Measured]]:
    """What was chosen, and what of the others took less time by more than noise (3 %)."""
    groups: dict[tuple[str, str], list[Measured]] = {}
    for one in (*paths(report), *variants(report)):
        groups.setdefault((one.shape, one.mode), []).append(one)
    found = []
    for group in groups.values():
        fastest = min(group, key=lambda one: one.measured)
        for chosen in (one for one in group if one.chosen):
            if fastest.measured < 0.97 * chosen.measured:
                found.append((chosen, fastest))
    return found


def named(one: Measured) -> str:
    return f"{one.path} {one.kernel} {one.rows}" if one.rows else one.path


def text(report: dict[str, Any]) -> str:
    """For who tunes the planner."""
    source = PLAN.read_text(encoding="utf-8")
    measured = report.get("sections", {}).get("calibrate", {}).get("costs") or {}
    lines = ["For cuda/plan.cpp:", "", initialiser(measured, source), ""]
    if missing := unmeasured(measured, source):
        lines += [f"As they were, not measured: {', '.join(missing)}", ""]
    head = (
        f"{'shape':24}{'mode':10}{'path':10}{'kernel':7}{'rows':>5}{'reckoned':>10}{'measured':>10}"
    )
    lines += ["Microseconds of a step, * where the planner chose the path:", head]
    for one in (*paths(report), *variants(report)):
        lines.append(
            f"{one.shape:24}{one.mode:10}{one.path:10}{one.kernel:7}{one.rows:5}"
            f"{one.predicted:10.2f}{one.measured:10.2f}{' *' if one.chosen else ''}"
        )
    wrong = mistakes(report)
    lines += ["", f"Another path or kernel was faster than the chosen one in {len(wrong)} cases:"]
    for chosen, fastest in wrong:
        lines.append(
            f"{chosen.shape:24}{chosen.mode:10}{named(chosen)} {chosen.measured:.2f} us, "
            f"{named(fastest)} {fastest.measured:.2f} us, "
            f"{chosen.measured / fastest.measured:.2f} times as much"
        )
    return "\n".join(lines)
