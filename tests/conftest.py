"""What every test gets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lstmcore.variables.graph import Graph


@pytest.fixture(autouse=True)
def graph() -> Iterator[Graph]:
    """A graph of its own, so that names of variables do not depend on the tests before."""
    with Graph().as_default() as graph:
        yield graph
