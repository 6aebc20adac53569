"""JSON: the elements of a top-level array are the items, streamed; anything else at the top is one item.

An object is one item whatever its fields are: no field's name makes it a list.
Broken JSON cannot be read on from where it breaks, unlike JSON Lines: the items so far stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import ijson
from ijson.common import JSONError

from fanout.planning.sandbox.jsontext import to_json
from fanout.planning.sandbox.read.jsonl import record
from fanout.planning.sandbox.read.lines import BOM
from fanout.planning.sandbox.read.record import Broken, Record, Stream, UnreadableError, digest_of, invalid, too_large

READ_BYTES = 64 * 1024
MAX_DEPTH = 200  # what comes after recurses


def read_json(stream: Stream, name: str, max_bytes: int) -> Iterator[Record | Broken]:
    """One record per element of the array, or the document. Raises UnreadableError where the JSON is broken."""
    watched = _Watched(stream, name, max_bytes)
    events = _events(watched, name)
    first = next(events)
    if first[0] != "start_array":
        yield _finish(name, _build(first, events, max_bytes), max_bytes)
        next(events, None)  # nothing may follow
        return
    for number, event in enumerate(events, 1):
        if event[0] == "end_array":
            break
        yield _finish(f"{name} element {number}", _build(event, events, max_bytes), max_bytes)
    next(events, None)


Event = tuple[str, Any]


def _events(watched: _Watched, name: str) -> Iterator[Event]:
    try:
        # Not use_float: it gives up on whole numbers beyond 64 bits, which ids may be.
        for event in ijson.basic_parse(watched, buf_size=READ_BYTES):
            watched.since_event = 0
            yield event
    except JSONError as error:
        fault = str(error.args[0] if error.args else error).removeprefix("b'").split("\n")[0].split("\\n")[0]
        raise UnreadableError(
            invalid(f"{name}, after byte {max(0, watched.total - READ_BYTES):,}: not JSON: {fault}: correct the file")
        ) from None


class _Watched:
    """The stream, with an eye on values so long that the parser would hold them."""

    def __init__(self, stream: Stream, name: str, max_bytes: int) -> None:
        self._stream = stream
        self._name = name
        self._max_bytes = max_bytes
        self.total = 0
        self.since_event = 0

    def read(self, size: int = READ_BYTES) -> bytes:
        data = self._stream.read(size)
        if self.total == 0:
            while len(data) <= len(BOM) and (more := self._stream.read(size)):
                data += more
            data = data.removeprefix(BOM)
        self.total += len(data)
        self.since_event += len(data)
        if self.since_event > self._max_bytes + READ_BYTES:
            raise UnreadableError(too_large(self._name, "a single value", self._max_bytes))
        return data


class _Built:
    """A value under construction: its size is counted, and beyond the limit nothing more is kept."""

    def __init__(self, max_bytes: int) -> None:
        self._room = max_bytes
        self._open: list[dict[str, Any] | list[Any]] = []
        self._keys: list[str] = []
        self._digest = blake2b(digest_size=16)
        self.depth = 0
        self.value: Any = None
        self.fault = ""

    def take(self, kind: str, value: Any) -> bool:
        """One event; returns whether the value is complete."""
        if isinstance(value, str):
            self._room -= len(value)
        self._room -= 2
        if kind in ("start_map", "start_array"):
            self.depth += 1
        elif kind in ("end_map", "end_array"):
            self.depth -= 1
        if not self.fault and (self._room < 0 or self.depth > MAX_DEPTH):
            self.fault = "large" if self._room < 0 else "deep"
            self.value, self._open, self._keys = None, [], []
        if self.fault:
            self._digest.update(f"{kind}:{value};".encode("utf-8", "replace"))
        else:
            self._keep(kind, value)
        return self.depth == 0

    def _keep(self, kind: str, value: Any) -> None:
        if kind == "map_key":
            self._keys.append(value)
        elif kind == "start_map":
            self._open.append({})
        elif kind == "start_array":
            self._open.append([])
        elif kind in ("end_map", "end_array"):
            self._put(self._open.pop())
        else:
            self._put(float(value) if isinstance(value, Decimal) else value)

    def _put(self, value: Any) -> None:
        if not self._open:
            self.value = value
        elif isinstance(parent := self._open[-1], dict):
            parent[self._keys.pop()] = value
        else:
            parent.append(value)

    @property
    def digest(self) -> bytes:
        return self._digest.digest()


def _build(first: Event, events: Iterator[Event], max_bytes: int) -> _Built:
    built = _Built(max_bytes)
    complete = built.take(*first)
    while not complete:
        complete = built.take(*next(events))
    return built


def _finish(where: str, built: _Built, max_bytes: int) -> Record | Broken:
    if built.fault == "large":
        return Broken(where, built.digest, too_large(where, "the element", max_bytes))
    if built.fault:
        return Broken(where, built.digest, invalid(f"{where}: nested more than {MAX_DEPTH} levels deep"))
    try:
        raw = to_json(built.value)
    except ValueError as error:
        return Broken(where, built.digest, invalid(f"{where}: {error}"))
    return record(where, digest_of(raw), built.value)
