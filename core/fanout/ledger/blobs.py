"""Texts and values as the ledger stores them: compressed where that helps.

The first byte tells the form (0 raw, 1 zlib), so that a small text costs one byte and not a compressor's header.
"""

from __future__ import annotations

import zlib

RAW = b"\x00"
ZLIB = b"\x01"
# Below this, zlib saves next to nothing and costs more than the bytes are worth.
SMALLEST_WORTH_COMPRESSING = 512


def pack(data: bytes) -> bytes:
    """`data` in the ledger's form."""
    if len(data) >= SMALLEST_WORTH_COMPRESSING:
        small = zlib.compress(data, level=1)
        if len(small) < len(data):
            return ZLIB + small
    return RAW + data


def unpack(blob: bytes) -> bytes:
    """What `pack` was given."""
    return zlib.decompress(blob[1:]) if blob[:1] == ZLIB else blob[1:]
