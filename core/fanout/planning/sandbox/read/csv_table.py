"""CSV (RFC 4180): the header row names the fields; every value is a text.

A stray quote would make the rest of the file one value. So a row that turns out broken costs its first line only: reading goes
on with the next line, which is held until the row has ended.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator

from fanout.planning.frames import Problem
from fanout.planning.sandbox.read.lines import Line, read_lines
from fanout.planning.sandbox.read.record import Broken, Record, Stream, UnreadableError, digest_of, invalid, too_large


def read_csv(stream: Stream, name: str, max_bytes: int) -> Iterator[Record | Broken]:
    """One record per row after the header. Empty lines are no rows."""
    csv.field_size_limit(max_bytes)
    rows = _Rows(read_lines(stream, max_bytes), name, max_bytes)
    header: list[str] | None = None
    for row in rows:
        if header is None:
            header = _header(name, row)
        elif isinstance(row, Broken):
            yield row
        else:
            yield _record(name, header, *row)


def _header(name: str, row: _Row | Broken) -> list[str]:
    if isinstance(row, Broken):
        raise UnreadableError(row.problem)
    line, _, values = row
    twice = {value for value in values if values.count(value) > 1}
    if twice:
        raise UnreadableError(
            invalid(f'{name} line {line}: the field "{min(twice)}" stands twice in the header: rename one')
        )
    return values


def _record(name: str, header: list[str], line: int, digest: bytes, values: list[str]) -> Record | Broken:
    where = f"{name} line {line}"
    if len(values) == len(header):
        return Record(where, digest, dict(zip(header, values, strict=True)))
    return Broken(
        where,
        digest,
        invalid(
            f"{where}: the row has {len(values)} values, the header {len(header)} fields: correct or remove this row "
            "(a value that holds a comma, a quote or a newline needs quotes around it)"
        ),
    )


_Row = tuple[int, bytes, list[str]]  # first line's number, digest, values


class _Rows:
    """The rows of a file, as csv.reader makes them of lines, which may have to be read again."""

    def __init__(self, lines: Iterator[Line], name: str, max_bytes: int) -> None:
        self._lines = lines
        self._name = name
        self._max_bytes = max_bytes
        self._again: deque[Line] = deque()
        self._taken: list[Line] = []  # the lines of the row at hand
        self._size = 0
        self._too_large = False

    def __iter__(self) -> Iterator[_Row | Broken]:
        parser = csv.reader(self._feed(), strict=True)
        while True:
            self._taken, self._size, self._too_large = [], 0, False
            try:
                values = next(parser, None)
            except csv.Error as error:
                yield self._broken(error)
                parser = csv.reader(self._feed(), strict=True)  # the old one may have ended with its lines
                continue
            if values is None:
                return
            if values:
                yield self._row(values)

    def _feed(self) -> Iterator[str]:
        while True:
            line = self._again.popleft() if self._again else next(self._lines, None)
            if line is None:
                return
            self._taken.append(line)
            self._size += len(line.raw) + 1
            if line.too_long or self._size > self._max_bytes:
                self._too_large = True
                raise csv.Error("too large")
            # Bytes that are no UTF-8 must not change where the row ends: they are found out afterwards.
            yield line.raw.decode("utf-8", "surrogateescape") + "\n"

    def _row(self, values: list[str]) -> _Row | Broken:
        first = self._taken[0].number
        digest = digest_of(b"\n".join(line.raw for line in self._taken))
        if not any(map(_is_escaped, values)):
            return first, digest, values
        return Broken(f"{self._name} line {first}", digest, self._bad_bytes())

    def _bad_bytes(self) -> Problem:
        for line in self._taken:
            try:
                line.raw.decode()
            except UnicodeDecodeError as error:
                return invalid(
                    f"{self._name} line {line.number}: not UTF-8: byte {error.start + 1} is 0x{line.raw[error.start]:02x} "
                    f"({error.reason}): convert the file to UTF-8, or correct or remove this row"
                )
        raise AssertionError("no line of the row has bad bytes")

    def _broken(self, error: csv.Error) -> Broken:
        first, *others = self._taken
        where = f"{self._name} line {first.number}"
        self._again.extendleft(reversed(others))
        digest = first.too_long or digest_of(first.raw)
        if self._too_large:
            return Broken(where, digest, too_large(where, "the row", self._max_bytes))
        return Broken(where, digest, invalid(f"{where}: {_fault(error)}: correct or remove this line"))


def _is_escaped(value: str) -> bool:
    return not value.isascii() and any("\udc80" <= c <= "\udcff" for c in value)


def _fault(error: csv.Error) -> str:
    message = str(error)
    if message == "unexpected end of data":
        return "a quote is opened and never closed"
    if "expected after" in message:
        return "a quote is closed in the middle of a value (a quote within a value is written twice)"
    if "new-line character" in message:
        return "a carriage return outside quotes"
    return f"not CSV: {message}"
