"""Lines of a stream, numbered from 1. A line that is too long is skipped without being held."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

from fanout.planning.sandbox.read.record import Stream, digest_of

READ_BYTES = 256 * 1024
BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One line, without the newline that ends it."""

    number: int
    raw: bytes
    too_long: bytes = b""
    """Of a line that was too long: the digest of all of it (`raw` is empty then)."""


def read_lines(stream: Stream, max_bytes: int) -> Iterator[Line]:
    """All lines; a UTF-8 byte order mark at the start is left out."""
    number = 1
    unfinished = _Unfinished(max_bytes)
    while data := stream.read(READ_BYTES):
        first, *others = data.split(b"\n")
        unfinished.add(first)
        if not others:
            continue
        yield unfinished.finish(number)
        number += 1
        last = others.pop()
        for raw in others:
            yield Line(number, raw) if len(raw) <= max_bytes else Line(number, b"", digest_of(raw))
            number += 1
        unfinished.add(last)
    if unfinished.size:
        yield unfinished.finish(number)


class _Unfinished:
    """A line whose end has not been read yet; once it is too long, only its digest."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._digest = blake2b(digest_size=16)
        self.size = 0

    def add(self, data: bytes) -> None:
        self.size += len(data)
        self._parts.append(data)
        if self.size > self._max_bytes:
            for part in self._parts:
                self._digest.update(part)
            self._parts.clear()

    def finish(self, number: int) -> Line:
        if self.size > self._max_bytes:
            line = Line(number, b"", self._digest.digest())
            self._digest = blake2b(digest_size=16)
        else:
            raw = b"".join(self._parts)
            line = Line(number, raw.removeprefix(BOM) if number == 1 else raw)
        self._parts.clear()
        self.size = 0
        return line
