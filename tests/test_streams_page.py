"""docs/streams.md: its blocks run, and what they assert holds."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).parent.parent / "docs" / "streams.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_blocks_run_one_after_the_other() -> None:
    assert len(BLOCKS) == 7
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(block, names)
