"""Items that stand in the manifest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from fanout.planning.sandbox.jsontext import to_json
from fanout.planning.source.port import SourceError


class InlineSource:
    """Inline items as JSON lines, in a file without a name."""

    def __init__(self, items: Sequence[Any]) -> None:
        lines = []
        for i, item in enumerate(items):
            try:
                lines.append(to_json(item))
            except ValueError as error:
                raise SourceError(f"input.items[{i}]: {error}") from None
        self._data = b"\n".join(lines)

    async def files(self) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        yield "", self._bytes()

    async def _bytes(self) -> AsyncIterator[bytes]:
        yield self._data
