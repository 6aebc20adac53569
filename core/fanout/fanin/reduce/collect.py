"""collect: one line per chunk, in input order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from fanout.api.output import OutputFormat
from fanout.fanin.answers import ChunkAnswers
from fanout.fanin.combine.port import CombineStrategy
from fanout.fanin.output.files import replacing
from fanout.fanin.reading import ResultReader
from fanout.fanin.reduce.port import ReduceStep
from fanout.ledger.schema import Settled


class Collect(ReduceStep):
    """Lines of {item, chunk, title, value}; the value of a chunk without an answer is null (results.jsonl says why)."""

    def __init__(self, reader: ResultReader, combine: CombineStrategy, form: OutputFormat) -> None:
        self._reader = reader
        self._combine = combine
        self._form = form

    async def write(self, path: Path) -> None:
        lines = self._form == OutputFormat.JSONL
        with replacing(path) as file:
            separator = b"" if lines else b"[\n"
            async for chunk in self._reader.chunks():
                file.write(separator + msgspec.json.encode(self._line(chunk)) + (b"\n" if lines else b""))
                separator = b"" if lines else b",\n"
            if not lines:
                file.write(b"[]\n" if separator == b"[\n" else b"\n]\n")

    def _line(self, chunk: ChunkAnswers) -> dict[str, Any]:
        value = self._combine.value(chunk.answers) if chunk.state == Settled.SUCCEEDED else None
        return {"item": chunk.item, "chunk": chunk.index, "title": chunk.title, "value": value}
