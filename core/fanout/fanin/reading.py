"""Chunks with their answers, streamed from the ledger in input order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy.engine import Row

from fanout.api.branch import Branch
from fanout.fanin.answers import Answered, ChunkAnswers
from fanout.ledger import results
from fanout.ledger.blobs import unpack
from fanout.ledger.schema import Settled
from fanout.ledger.store import Ledger


class ResultReader:
    """Reads one job's results; memory does not grow with their number."""

    def __init__(self, ledger: Ledger, job: int, branches: Sequence[Branch]) -> None:
        self._ledger = ledger
        self._job = job
        self._branches = branches

    async def chunks(
        self, *, state: Settled | None = None, first: int = 0, last: int | None = None
    ) -> AsyncIterator[ChunkAnswers]:
        """All chunks, or those in one state, from `first` to `last` (inclusive)."""
        async for rows, answers in results.pages(self._ledger, self._job, state=state, first=first, last=last):
            for row in rows:
                yield self._chunk(row, answers.get(row.chunk, []))

    def _chunk(self, row: Row[Any], answers: list[Row[Any]]) -> ChunkAnswers:
        return ChunkAnswers(
            chunk=row.chunk,
            item=row.id,
            position=row.item,
            index=row.idx,
            count=row.chunks,
            item_name=row.name,
            fields=unpack(row.fields) if row.fields is not None else None,
            title=row.title,
            state=Settled(row.state),
            error=row.error,
            answers=[self._answer(answer) for answer in answers],
        )

    def _answer(self, row: Row[Any]) -> Answered:
        branch = self._branches[row.branch]
        return Answered(
            branch=branch.name,
            sample=row.sample,
            state=Settled(row.state),
            value=unpack(row.value) if row.value is not None else None,
            is_vector=branch.embed is not None,
            error=row.error,
            endpoint=row.endpoint,
            attempts=row.attempts,
            latency_ms=row.latency_ms,
            finish_reason=row.finish_reason,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cost=row.cost,
            request_id=row.request_id,
            http_status=row.http_status,
        )
