"""Measured rows as figures and text: medians, ratios to the best peer and to the floor."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from lstmcore.benchmark.cases import Case, Ceilings, floor

OURS = "lstmcore"


def best_of(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The fastest variant of each engine that got right results."""
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        known = best.get(row["engine"])
        if "median" in row and (known is None or row["median"] < known["median"]):
            best[row["engine"]] = row
    return best


def summary(
    rows: list[dict[str, Any]], threads: int, ceilings: Ceilings | None
) -> list[dict[str, Any]]:
    """One line per case at this number of threads, in the order of the rows.

    ``ratio`` is best peer / ours, ``over_floor`` ours / floor; None where there is none.
    """
    lines = []
    for case in dict.fromkeys(Case(**row["case"]) for row in rows):
        own = [r for r in rows if r["threads"] == threads and Case(**r["case"]) == case]
        best = best_of(own)
        ours = best.pop(OURS, None)
        if ours is None:
            continue
        peer = min(best.values(), key=lambda row: row["median"], default=None)
        least = None if ceilings is None else floor(case, ceilings, threads)
        lines.append(
            {
                "case": case,
                "ours": ours,
                "peers": best,
                "best_peer": peer,
                "ratio": peer and peer["median"] / ours["median"],
                "floor": least,
                "over_floor": least and ours["median"] / least,
            }
        )
    return lines


def geometric_mean(values: Iterable[float | None]) -> float | None:
    logs = [math.log(value) for value in values if value]
    return math.exp(sum(logs) / len(logs)) if logs else None


def spread(row: dict[str, Any]) -> float:
    """(worst - best) / median over the rounds."""
    return float((max(row["seconds"]) - min(row["seconds"])) / row["median"])


def duration(seconds: float | None) -> str:
    """In microseconds with three digits, k for thousands."""
    if seconds is None:
        return "-"
    micro = seconds * 1e6
    if micro >= 9995:
        return f"{micro / 1000:.3g}k" if micro < 999500 else f"{micro / 1000:.0f}k"
    return f"{micro:.3g}" if micro < 999.5 else f"{micro:.0f}"


def ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def text(lines: list[dict[str, Any]], threads: int) -> str:
    """A table for a terminal of 80 columns."""
    out = [
        f"{threads} thread{'s' if threads > 1 else ''}, microseconds",
        f"{'case':<28} {'lstmcore':>9} {'best peer':>10}  {'':<12} {'peer/ours':>9}",
    ]
    for line in lines:
        peer = line["best_peer"]
        out.append(
            f"{line['case'].name:<28} {duration(line['ours']['median']):>9} "
            f"{duration(peer and peer['median']):>10}  {(peer or {}).get('engine', 'none'):<12} "
            f"{ratio(line['ratio']):>9}"
        )
    mean = geometric_mean(line["ratio"] for line in lines)
    if mean is not None:
        out.append(f"{'geometric mean':<64} {ratio(mean):>9}")
    return "\n".join(out)
