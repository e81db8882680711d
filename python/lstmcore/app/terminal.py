"""Writing to the terminal: headings through rich when it is installed, plain text otherwise."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys


def heading(text: str) -> None:
    """Print one line, in bold where that is possible and wanted.

    Plain text goes to files and pipes, and everywhere when NO_COLOR is set (https://no-color.org).
    """
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR") and importlib.util.find_spec("rich"):
        rich_console = importlib.import_module("rich.console")
        console = rich_console.Console(highlight=False, markup=False, soft_wrap=True)
        console.print(text, style="bold")
    else:
        print(text)
