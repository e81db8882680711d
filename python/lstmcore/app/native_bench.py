"""The command ``lstmcore-bench``: starts the native benchmark program beside the module.

The program is not a script of its own in the wheel, because its libraries are found from where
it lies, and only inside the package that place is known.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lstmcore import _core
from lstmcore.app.cli import MISSING_EXTRA

PROGRAM = Path(_core.__file__).parent / "bin" / "lstmcore-bench"


def main() -> int:
    """Becomes the program, with the same arguments; returns an exit code where it is missing."""
    if PROGRAM.exists():
        os.execv(PROGRAM, sys.argv)
    print(
        "lstmcore-bench: this lstmcore was built without it, as Google Benchmark was not there "
        "(Debian: libbenchmark-dev); install that, then lstmcore again",
        file=sys.stderr,
    )
    return MISSING_EXTRA
