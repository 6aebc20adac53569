"""Reading results: chunks with their answers, in input order, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.ledger.schema import CallState, Settled, Stage, calls, chunks, items, jobs, tasks
from fanout.ledger.store import Ledger

PAGE = 500  # chunks in memory at a time

_CHUNK = [
    chunks.c.chunk, chunks.c.idx, chunks.c.title, chunks.c.state, chunks.c.error,
    items.c.item, items.c.id, items.c.name, items.c.fields, items.c.chunks,
]  # fmt: skip
_ANSWER = [
    tasks.c.unit, tasks.c.branch, tasks.c.sample, tasks.c.state, tasks.c.value, tasks.c.error, tasks.c.endpoint,
    tasks.c.attempts, tasks.c.latency_ms, tasks.c.finish_reason, tasks.c.input_tokens, tasks.c.output_tokens, tasks.c.cost,
    calls.c.request_id, calls.c.http_status,
]  # fmt: skip

Page = tuple[Sequence[Row[Any]], dict[int, list[Row[Any]]]]


async def pages(
    ledger: Ledger, job: int, *, state: Settled | None = None, first: int = 0, last: int | None = None
) -> AsyncIterator[Page]:
    """Pages of (chunk rows, answer rows by chunk), of all chunks or of those in one state, from `first` to `last`."""
    after = first - 1
    while True:
        query = (
            select(*_CHUNK)
            .join(items, (items.c.job == chunks.c.job) & (items.c.item == chunks.c.item))
            .where(chunks.c.job == job, chunks.c.chunk > after)
            .order_by(chunks.c.chunk)
            .limit(PAGE)
        )
        if state is not None:
            query = query.where(chunks.c.state == state)
        if last is not None:
            query = query.where(chunks.c.chunk <= last)
        async with ledger.read() as connection:
            rows = (await connection.execute(query)).all()
            if not rows:
                return
            answers = await _answers(connection, job, rows)
        yield rows, answers
        after = rows[-1].chunk


async def _answers(connection: AsyncConnection, job: int, rows: Sequence[Row[Any]]) -> dict[int, list[Row[Any]]]:
    query = (
        select(*_ANSWER)
        .outerjoin_from(tasks, calls, calls.c.call == tasks.c.call)
        .where(
            tasks.c.job == job,
            tasks.c.stage == Stage.MAP,
            tasks.c.unit.between(rows[0].chunk, rows[-1].chunk),
        )
        .order_by(tasks.c.unit, tasks.c.branch, tasks.c.sample)
    )
    by_chunk: dict[int, list[Row[Any]]] = {}
    for row in await connection.execute(query):
        by_chunk.setdefault(row.unit, []).append(row)
    return by_chunk


async def call_totals(connection: AsyncConnection, job: int) -> list[Row[Any]]:
    """Calls by (sent, why, outcome), with their sums of tokens and cost: where a resumed job's counters start."""
    sums = (
        func.sum(column).label(column.name)
        for column in (
            calls.c.input_tokens, calls.c.cached_input_tokens, calls.c.output_tokens, calls.c.estimated_tokens, calls.c.cost
        )
    )  # fmt: skip
    query = (
        select(calls.c.sent, calls.c.why, calls.c.outcome, func.count().label("calls"), *sums)
        .where(calls.c.job == job, calls.c.state.in_((CallState.ANSWERED, CallState.LOST, CallState.CANCELLED)))
        .group_by(calls.c.sent, calls.c.why, calls.c.outcome)
    )
    return list(await connection.execute(query))


async def deduplicated(connection: AsyncConnection, job: int) -> int:
    """Tasks that share another's call."""
    query = select(func.count()).where(tasks.c.job == job, tasks.c.same_as.is_not(None))
    return int(await connection.scalar(query) or 0)


async def dropped(connection: AsyncConnection, job: int) -> int:
    """Answers that came second."""
    return int(await connection.scalar(select(jobs.c.dropped).where(jobs.c.job == job)) or 0)


async def latency_percentiles(connection: AsyncConnection, job: int, percents: Sequence[int]) -> list[int]:
    """Exact percentiles of the accepted calls' durations, in milliseconds (nearest rank)."""
    accepted = (calls.c.job == job, calls.c.state == CallState.ANSWERED, calls.c.outcome == "Succeeded")
    count = int(await connection.scalar(select(func.count()).where(*accepted)) or 0)
    if count == 0:
        return [0] * len(percents)
    found = []
    for percent in percents:
        rank = max(0, -(-count * percent // 100) - 1)
        query = select(calls.c.latency_ms).where(*accepted).order_by(calls.c.latency_ms).offset(rank).limit(1)
        found.append(int(await connection.scalar(query) or 0))
    return found
