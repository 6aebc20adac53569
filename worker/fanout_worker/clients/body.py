"""Reading a response's body within a bound, so that an endless or packed one cannot fill the memory."""

from __future__ import annotations

import zlib

import aiohttp

# For zlib: gzip or zlib wrapper, told apart by the header.
_AUTODETECT = zlib.MAX_WBITS | 32


class BodyRefusedError(Exception):
    """The body exceeds the bound, or is packed in a way that cannot be bounded."""


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, unpacked; raises BodyRefusedError as soon as it exceeds `limit` bytes."""
    length = response.content_length
    if length is not None and length > limit:
        raise _too_large(limit)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise BodyRefusedError(f"the response comes packed as {encoding[:40]!r}, though none was asked for")
    if length is not None and encoding in ("", "identity"):
        return await response.read()
    parts = []
    size = 0
    unpacker = None if encoding in ("", "identity") else zlib.decompressobj(_AUTODETECT)
    async for raw in response.content.iter_any():
        part = raw if unpacker is None else _unpacked(unpacker, raw, limit - size)
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    if unpacker is not None and size and not unpacker.eof:
        raise BodyRefusedError("the packed response ends in the middle")
    return b"".join(parts)


def _unpacked(unpacker: zlib._Decompress, raw: bytes, room: int) -> bytes:
    try:
        part = unpacker.decompress(raw, room + 1)
    except zlib.error as exc:
        raise BodyRefusedError(f"the response says that it is packed, but is not: {exc}") from exc
    return part


def _too_large(limit: int) -> BodyRefusedError:
    return BodyRefusedError(f"the response is larger than {limit // 1024:,} KiB: ask for less in one call")
