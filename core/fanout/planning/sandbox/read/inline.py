"""Inline items: they come as JSON lines, but are named by their place in the manifest."""

from __future__ import annotations

from collections.abc import Iterator

from fanout.planning.sandbox.read.jsonl import parse
from fanout.planning.sandbox.read.lines import read_lines
from fanout.planning.sandbox.read.record import Broken, Record, Stream, too_large


def read_inline(stream: Stream, name: str, max_bytes: int) -> Iterator[Record | Broken]:
    """One record per line; `name` is the list's ("input.items")."""
    for line in read_lines(stream, max_bytes):
        where = f"{name or 'input.items'}[{line.number - 1}]"
        if line.too_long:
            yield Broken(where, line.too_long, too_large(where, "the item", max_bytes))
        else:
            yield parse(where, line.raw)
