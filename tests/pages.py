"""The Python blocks of a page of the documentation, run as a reader would run them."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

from lstmcore.variables.graph import Graph

ROOT = Path(__file__).parent.parent


def blocks(page: str, language: str = "python") -> list[str]:
    """The blocks of ``page``, a path from the root of the repository."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def run(page: str, *, apart: bool = False, graph: Graph | None = None) -> list[dict[str, Any]]:
    """Runs the blocks one after the other, or each on its own if ``apart``; in ``graph`` if given.

    What a block prints must stand below its print, as a comment. Returns the names that there were
    after each block.
    """
    names: dict[str, Any] = {}
    graph, after = graph or Graph(), []
    for block in blocks(page):
        if apart:
            names, graph = {}, Graph()
        printed = io.StringIO()
        with graph.as_default(), contextlib.redirect_stdout(printed):
            exec(block, names)
        promised = re.findall(r"^ *print\(.*\n# (.*)$", block, re.MULTILINE)
        assert printed.getvalue().splitlines() == promised, block
        after.append(dict(names))
    return after
