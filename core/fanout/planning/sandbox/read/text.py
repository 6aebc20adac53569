"""Text: a whole file is one item."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from fanout.planning.sandbox.read.lines import BOM, READ_BYTES
from fanout.planning.sandbox.read.record import Broken, Record, Stream, bad_utf8, digest_of, invalid, too_large

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(stream: Stream, name: str, max_bytes: int) -> Iterator[Record | Broken]:
    """One record: the file's text, without a byte order mark."""
    parts: list[bytes] = []
    size = 0
    while data := stream.read(READ_BYTES):
        size += len(data)
        parts.append(data)
        if size > max_bytes:
            yield Broken(name, _digest(stream, parts), too_large(name, "the file", max_bytes))
            return
    raw = b"".join(parts)
    digest = digest_of(raw)
    if raw.startswith(_UTF16):
        yield Broken(name, digest, invalid(f"{name}: UTF-16: convert the file to UTF-8"))
        return
    try:
        yield Record(name, digest, raw.removeprefix(BOM).decode())
    except UnicodeDecodeError as error:
        start = len(raw) - len(error.object)
        line = error.object.count(b"\n", 0, error.start) + 1
        yield Broken(name, digest, bad_utf8(f"{name} line {line}", error, offset=start))


def _digest(stream: Stream, parts: list[bytes]) -> bytes:
    digest = blake2b(b"".join(parts), digest_size=16)
    parts.clear()
    while data := stream.read(READ_BYTES):
        digest.update(data)
    return digest.digest()
