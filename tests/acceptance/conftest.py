"""One healthy model server for all tests of this folder; those that want another start their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from command import Server, serving


@pytest.fixture(scope="session")
def healthy() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def model(healthy: Server) -> Server:
    """A model that answers at once and always; it counts from zero."""
    healthy.reset()
    return healthy
