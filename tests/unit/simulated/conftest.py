"""Keeps looptime from making an event loop that nobody closes."""

from __future__ import annotations

import asyncio

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_loop_unless_made() -> None:
    # looptime 0.9 asks the policy for a loop before every test. Where none was ever set, asyncio makes one, and its
    # garbage collection fails whatever test is running then. Once None is set, asyncio raises, which looptime expects.
    asyncio.set_event_loop(None)
