"""What every test gets."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

from cuda_emulator import emulator_build, gpu  # noqa: F401
from lstmcore.variables.graph import Graph

# Where a failure stops a change, the same examples are drawn each time; elsewhere new ones. No
# deadlines: how long an example takes tells of the machine.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("elsewhere", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "elsewhere")


@pytest.fixture(autouse=True)
def graph() -> Iterator[Graph]:
    """A graph of its own, so that names of variables do not depend on the tests before."""
    with Graph().as_default() as graph:
        yield graph
