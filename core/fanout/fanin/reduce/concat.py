"""concat: the answers as one text, in input order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from fanout.fanin.answers import ChunkAnswers
from fanout.fanin.combine.port import CombineStrategy
from fanout.fanin.output.files import replacing
from fanout.fanin.reading import ResultReader
from fanout.fanin.reduce.port import ReduceFailedError, ReduceStep
from fanout.ledger.schema import Settled
from fanout.planning.frames import Problem

Render = Callable[[str, list[dict[str, Any]]], Awaitable[list[str | Problem]]]
"""Renders a template for several contexts, outside this process."""
PAGE = 100  # answers rendered at a time


def as_text(value: bytes) -> str:
    """A value as a part of a text: texts as they are, the rest as JSON."""
    decoded = msgspec.json.decode(value)
    return decoded if isinstance(decoded, str) else value.decode()


class Concat(ReduceStep):
    """Answers of the chunks that succeeded, with a separator between them."""

    def __init__(
        self,
        reader: ResultReader,
        combine: CombineStrategy,
        *,
        separator: str,
        template: str | None,
        params: dict[str, Any],
        render: Render,
    ) -> None:
        self._reader = reader
        self._combine = combine
        self._separator = separator.encode()
        self._template = template
        self._params = params
        self._render = render

    async def write(self, path: Path) -> None:
        with replacing(path) as file:
            page: list[ChunkAnswers] = []
            first = True
            async for chunk in self._reader.chunks(state=Settled.SUCCEEDED):
                page.append(chunk)
                if len(page) == PAGE:
                    await self._write_page(file, page, first=first)
                    page, first = [], False
            await self._write_page(file, page, first=first)
            file.write(b"\n")

    async def _write_page(self, file: BinaryIO, page: list[ChunkAnswers], *, first: bool) -> None:
        values = [bytes(self._combine.value(chunk.answers)) for chunk in page]
        texts: list[str | Problem] = [as_text(value) for value in values]
        if self._template is not None and page:
            contexts = [self._context(chunk, value) for chunk, value in zip(page, values, strict=True)]
            texts = await self._render(self._template, contexts)
        for chunk, text in zip(page, texts, strict=True):
            if isinstance(text, Problem):
                raise ReduceFailedError(f"concat.template, item {chunk.item}, chunk {chunk.index}: {text.message}")
            file.write((b"" if first else self._separator) + text.encode())
            first = False

    def _context(self, chunk: ChunkAnswers, value: bytes) -> dict[str, Any]:
        return {
            "value": msgspec.json.decode(value),
            "chunk": {"index": chunk.index, "count": chunk.count, "title": chunk.title},
            "item": {
                "id": chunk.item, "name": chunk.item_name, "index": chunk.position, "fields": chunk.fields_dict(),
            },
            "params": self._params,
        }  # fmt: skip
