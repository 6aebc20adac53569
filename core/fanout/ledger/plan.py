"""Storing what the planner planned: a batch of items, chunks, tasks and calls in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.ledger.lookup import some_at_a_time
from fanout.ledger.schema import CallState, Settled, Stage, calls, chunks, items, tasks


class PlannedCall(NamedTuple):
    """A call to make: a row of `calls` at its birth."""

    call: int
    job: int
    lane: int
    tasks: bytes
    rank: int


async def insert_items(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """New items."""
    if rows:
        await connection.execute(insert(items), rows)


async def add_item_chunks(connection: AsyncConnection, job: int, item: int, more: int) -> None:
    """A large document's chunks came in several batches."""
    await connection.execute(
        update(items).where(items.c.job == job, items.c.item == item).values(chunks=items.c.chunks + more)
    )


async def insert_chunks(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """New chunks."""
    if rows:
        await connection.execute(insert(chunks), rows)


async def insert_tasks(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """New tasks, open."""
    if rows:
        await connection.execute(insert(tasks), rows)


async def insert_calls(connection: AsyncConnection, planned: Iterable[PlannedCall]) -> None:
    """New calls, ready to be sent."""
    rows = [
        {"call": c.call, "job": c.job, "lane": c.lane, "tasks": c.tasks, "rank": c.rank, "state": CallState.READY}
        for c in planned
    ]
    if rows:
        await connection.execute(insert(calls), rows)


async def taken_ids(connection: AsyncConnection, job: int, ids: Sequence[str]) -> dict[str, int]:
    """Which of these item ids the job has already, with the item's position."""
    found: dict[str, int] = {}
    for some in some_at_a_time(ids):
        query = select(items.c.id, items.c.item).where(items.c.job == job, items.c.id.in_(some))
        found.update((row.id, row.item) for row in await connection.execute(query))
    return found


async def tasks_by_digest(
    connection: AsyncConnection, job: int, digests: Sequence[bytes]
) -> dict[bytes, tuple[int, bool]]:
    """Tasks that send one of these requests already: digest → (task, whether it is settled).

    Those that were given up have no answer to share.
    """
    found: dict[bytes, tuple[int, bool]] = {}
    for some in some_at_a_time(digests):
        query = select(tasks.c.digest, tasks.c.task, tasks.c.state).where(
            tasks.c.job == job,
            tasks.c.digest.in_(some),
            tasks.c.same_as.is_(None),
            tasks.c.state != Settled.SKIPPED,
        )
        found.update((row.digest, (row.task, row.state != Settled.OPEN)) for row in await connection.execute(query))
    return found


async def next_chunk(connection: AsyncConnection, job: int) -> int:
    """The position after the last chunk planned."""
    last = await connection.scalar(
        select(chunks.c.chunk).where(chunks.c.job == job).order_by(chunks.c.chunk.desc()).limit(1)
    )
    return 0 if last is None else last + 1


async def item_at(connection: AsyncConnection, job: int, item: int) -> tuple[str, int] | None:
    """The id of the item at this position, and how many chunks of it are planned."""
    query = select(items.c.id, items.c.chunks).where(items.c.job == job, items.c.item == item)
    row = (await connection.execute(query)).first()
    return None if row is None else (row.id, row.chunks)


_CARRY = (
    update(tasks)
    .where(tasks.c.job == bindparam("b_job"), tasks.c.task == bindparam("b_task"))
    .values(call=bindparam("b_call"))
)


async def carry(connection: AsyncConnection, job: int, planned: Sequence[tuple[int, int]]) -> None:
    """Tasks that were stored earlier now have a call: (task, call)."""
    if planned:
        await connection.execute(_CARRY, [{"b_job": job, "b_task": task, "b_call": call} for task, call in planned])


class Uncarried(NamedTuple):
    """A task that is in no call yet."""

    task: int
    branch: int
    sample: int
    weight: int


async def uncarried(connection: AsyncConnection, job: int) -> list[Uncarried]:
    """Map tasks that wait for company in a call: what a planning that was cut off left over."""
    query = select(tasks.c.task, tasks.c.branch, tasks.c.sample, tasks.c.weight).where(
        tasks.c.job == job,
        tasks.c.stage == Stage.MAP,
        tasks.c.state == Settled.OPEN,
        tasks.c.call.is_(None),
        tasks.c.same_as.is_(None),
    )
    return [Uncarried(*row) for row in await connection.execute(query)]
