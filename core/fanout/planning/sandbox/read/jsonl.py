"""JSON Lines: an object of fields, or a text, on each line. Blank lines are no items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from fanout.planning.sandbox.read.lines import read_lines
from fanout.planning.sandbox.read.record import Broken, Record, Stream, bad_utf8, digest_of, invalid, too_large

_KINDS = {list: "a list", int: "a number", float: "a number", bool: "a truth value", type(None): "null"}


def read_jsonl(stream: Stream, name: str, max_bytes: int) -> Iterator[Record | Broken]:
    """One record per line. A bad line costs that line only."""
    for line in read_lines(stream, max_bytes):
        where = f"{name} line {line.number}"
        if line.too_long:
            yield Broken(where, line.too_long, too_large(where, "the line", max_bytes))
        elif line.raw and not line.raw.isspace():
            yield parse(where, line.raw)


def parse(where: str, raw: bytes) -> Record | Broken:
    """One line's record."""
    digest = digest_of(raw)
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Broken(where, digest, invalid_json(where, raw, error))
    return record(where, digest, value)


def record(where: str, digest: bytes, value: Any) -> Record | Broken:
    """A record of what was decoded, if it can be one."""
    if isinstance(value, str | dict):
        return Record(where, digest, value)
    kind = _KINDS[type(value)]
    return Broken(where, digest, invalid(f"{where}: {kind}, where an object of fields (or a text) is asked for"))


def invalid_json(where: str, raw: bytes, error: Exception) -> Any:
    """What is wrong with a line, with its column. Slow, but only for lines that are wrong."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as not_utf8:
        return bad_utf8(where, not_utf8)
    return invalid(f"{where}{_fault(text, error)}: correct or remove this line")


def _fault(text: str, error: Exception) -> str:
    import json  # noqa: PLC0415 - only for bad lines, because its messages are the better ones

    if isinstance(error, RecursionError):
        return ": nested too deeply"
    try:
        json.loads(text)
    except json.JSONDecodeError as fault:
        return f", column {fault.pos + 1}: not JSON: {fault.msg}"
    except (ValueError, RecursionError) as fault:
        return f": not JSON: {fault}"
    # What Python's own parser lets pass: NaN, Infinity, half a surrogate pair.
    return (
        f": not JSON: {error}"
        if "truncated" not in str(error)
        else ": not JSON: half of a surrogate pair (\\ud800 to \\udfff)"
    )
