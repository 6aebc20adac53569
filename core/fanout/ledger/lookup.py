"""Looking up many rows by their ids: some at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

# SQLite binds 32,766 values a statement and PostgreSQL's driver as many; far fewer keep each statement quick.
AT_A_TIME = 500


def some_at_a_time(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    """Runs of `ids`, each short enough for one statement's IN."""
    for start in range(0, len(ids), AT_A_TIME):
        yield ids[start : start + AT_A_TIME]
