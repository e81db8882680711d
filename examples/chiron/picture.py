"""Draws the signal with the letters under it, one row per segment. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The usual colours of the four bases in sequence viewers.
_COLOURS = {"A": "#1a9850", "C": "#2b6cb0", "G": "#d98200", "T": "#d73027"}
_INK, _GREY = "#1f2933", "#7b8794"
_LETTER_WIDTH = 7.5  # samples that one letter needs, so that neighbours do not touch


@dataclass(frozen=True)
class Row:
    """One segment: its samples, the letters, the sample at which each begins, and a remark."""

    title: str
    signal: NDArray[np.float32]
    letters: str
    starts: Sequence[int]
    remark: str


def save(path: Path, rows: Sequence[Row], title: str, subtitle: str) -> None:
    """Write the picture in the format that the name's ending asks for (.png, .svg, .pdf).

    Raises ValueError for an ending that matplotlib does not know, OSError when it cannot write.
    """
    from matplotlib.figure import Figure

    inches = 1.35 * len(rows) + 1.5
    figure = Figure(figsize=(12, inches), dpi=150, facecolor="white")
    figure.text(0.06, 1 - 0.42 / inches, title, fontsize=17, weight="bold", color=_INK)
    figure.text(0.06, 1 - 0.72 / inches, subtitle, fontsize=10.5, color=_GREY)
    grid = figure.add_gridspec(
        len(rows), 1, left=0.06, right=0.985, top=1 - 1.0 / inches, bottom=0.5 / inches, hspace=0.12
    )
    low = min(float(row.signal.min()) for row in rows)
    high = max(float(row.signal.max()) for row in rows)
    width = max(len(row.signal) for row in rows)
    for index, row in enumerate(rows):
        axes = figure.add_subplot(grid[index])
        _draw(axes, row, width, low, high)
        if index == len(rows) - 1:
            axes.tick_params(bottom=True, labelbottom=True, colors=_GREY, labelsize=8)
            axes.set_xlabel("sample of the segment", fontsize=9, color=_GREY)
    figure.savefig(path)


def _draw(axes: Axes, row: Row, width: int, low: float, high: float) -> None:
    """One row: the trace, coloured by the letter being read, and the letters in a strip below."""
    strip = 0.42 * (high - low)  # height of the strip with the letters
    axes.set_xlim(-2, width + 2)
    axes.set_ylim(low - strip, high + 0.25 * (high - low))
    axes.tick_params(left=False, labelleft=False, bottom=False, labelbottom=False)
    for side in axes.spines.values():
        side.set_visible(False)

    samples = np.arange(len(row.signal))
    bounds = [*row.starts, len(row.signal)]
    axes.plot(samples[: bounds[0] + 1], row.signal[: bounds[0] + 1], color=_GREY, linewidth=1.0)
    places = np.clip(_spread(row.starts, _LETTER_WIDTH), 0, width)
    for letter, place, start, end in zip(row.letters, places, bounds, bounds[1:], strict=False):
        colour = _COLOURS[letter]
        axes.axvspan(start, end, 0, 1, color=colour, alpha=0.07, linewidth=0)
        piece = slice(start, end + 1)
        axes.plot(samples[piece], row.signal[piece], color=colour, linewidth=1.1)
        axes.plot(
            [start, start, place],
            [row.signal[start], low - 0.08 * strip, low - 0.38 * strip],
            color=colour,
            linewidth=0.6,
            alpha=0.55,
        )
        axes.text(
            place, low - 0.72 * strip, letter, color=colour, fontsize=13, weight="bold",
            ha="center", va="center", family="monospace",
        )  # fmt: skip
    label = {"fontsize": 8.5, "color": _GREY, "va": "top", "transform": axes.transAxes}
    axes.text(0.004, 0.97, row.title, ha="left", **label)
    axes.text(0.996, 0.97, row.remark, ha="right", **label)


def _spread(starts: Sequence[int], gap: float) -> list[float]:
    """Places at least `gap` apart, in order, as near to `starts` as possible (least squares).

    Less the gaps this is monotone regression: neighbours that would cross are pooled in their mean.
    """
    pools: list[tuple[float, int]] = []  # mean, size
    for index, start in enumerate(starts):
        mean, size = start - index * gap, 1
        while pools and pools[-1][0] >= mean:
            before, count = pools.pop()
            mean, size = (mean * size + before * count) / (size + count), size + count
        pools.append((mean, size))
    means = [mean for mean, size in pools for _ in range(size)]
    return [mean + index * gap for index, mean in enumerate(means)]
