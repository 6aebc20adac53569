"""What readers make: records, or what is wrong with one."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Protocol

import msgspec

from fanout.planning.frames import Problem


class Stream(Protocol):
    """Bytes of one file."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, fewer if no more are there yet; none at the end."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record or document, as it was read."""

    where: str
    digest: bytes
    value: str | dict[str, Any]
    """A plain text, or named fields."""


class Broken(msgspec.Struct, frozen=True, gc=False):
    """A record that could not be read. The ones after it can."""

    where: str
    digest: bytes
    problem: Problem


class UnreadableError(Exception):
    """The input cannot be read any further; the records so far stay."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def digest_of(raw: bytes) -> bytes:
    """16 bytes that tell one raw record from another."""
    return blake2b(raw, digest_size=16).digest()


def invalid(message: str) -> Problem:
    """A record that is not what its format asks for."""
    return Problem(reason="InvalidRecord", message=message)


def too_large(where: str, what: str, max_bytes: int) -> Problem:
    """A record beyond the size limit."""
    return Problem(
        reason="TooLarge",
        message=f"{where}: {what} is larger than {max_bytes:,} bytes, the most an item may have: split it before the job reads it",
    )


def bad_utf8(where: str, error: UnicodeDecodeError, *, offset: int = 0) -> Problem:
    """Bytes that are no UTF-8. `offset`: bytes of the record before those that were decoded."""
    byte = error.object[error.start]
    return invalid(
        f"{where}: not UTF-8: byte {offset + error.start + 1} is 0x{byte:02x} ({error.reason}): convert the file to UTF-8, "
        "or correct or remove this record"
    )
