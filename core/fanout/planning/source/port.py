"""What every source offers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

READ_BYTES = 1 << 20


class SourceError(Exception):
    """The input cannot be had. The message says where, what, and what to do."""


class Source(Protocol):
    """One input: files in order, each a stream of bytes."""

    def files(self) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        """(name, bytes) of each file; the bytes of one are read to their end before the next. Raises SourceError."""
