"""What every test gets."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

from cuda_emulator import emulator_build, gpu  # noqa: F401
from lstmcore.variables.graph import Graph

# Where a failure stops a change, the same examples are drawn each time; elsewhere new ones.
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


@pytest.fixture(autouse=True)
def graph() -> Iterator[Graph]:
    """A graph of its own, so that names of variables do not depend on the tests before."""
    with Graph().as_default() as graph:
        yield graph
