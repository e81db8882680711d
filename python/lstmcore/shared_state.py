"""The lock of what threads share in Python: graphs, the building of layers, and assigned values.

One lock for all, held for short work only, cannot be taken in two orders. A fork waits for it, so
that the child finds it free and never sees a layer half built or a value half assigned.
"""

from __future__ import annotations

import os
import threading

lock = threading.RLock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
    )
