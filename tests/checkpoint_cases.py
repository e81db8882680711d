"""A small well-formed checkpoint in pieces, for tests that break one of them."""

from __future__ import annotations

import numpy as np

import checkpoint_writer as writer

F32 = 1
HEADER = (b"", writer.header())
DATA = np.float32([1.5, -2, 3]).tobytes()
CRC = writer.masked(writer.crc32c(DATA))


def good(**changes):
    """The entry of a vector of three float32 at the start of shard 0."""
    return writer.entry(**{"code": F32, "shape": (3,), "size": 12, "crc": CRC, **changes})


def partitioned(shape, extents, parts):
    """Items of one partitioned variable ``v``: its entry and those of its slices."""
    whole = (b"v", writer.entry(F32, shape, slices=extents))
    return sorted([HEADER, whole, *((writer.slice_key("v", e), p) for e, p in parts)])


# Two slices of three elements, and where the second's data lies.
A, B = [(0, 3)], [(3, 3)]
SECOND = {"offset": 12}
