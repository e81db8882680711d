"""``python -m lstmcore``: the same as the command ``lstmcore``."""

import sys

from lstmcore.app.cli import main

sys.exit(main())
