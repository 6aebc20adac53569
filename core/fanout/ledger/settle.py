"""Settling: tasks get their one accepted outcome, those that share a request get it too, chunks follow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.ledger.lookup import some_at_a_time
from fanout.ledger.schema import Settled, Stage, chunks, tasks


class Task(NamedTuple):
    """Where a task stands."""

    task: int
    stage: int
    unit: int
    branch: int
    sample: int
    weight: int
    state: int
    attempts: int


class TaskOutcome(NamedTuple):
    """The accepted outcome of a task."""

    task: int
    state: Settled
    value: bytes | None = None
    """Packed."""
    error: str | None = None
    """JSON."""
    call: int | None = None
    endpoint: str | None = None
    attempts: int = 0
    latency_ms: int | None = None
    finish_reason: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0


_TASK = [tasks.c[name] for name in Task._fields]
_OUTCOME = [name for name in TaskOutcome._fields if name != "task"]
_SETTLE = (
    update(tasks)
    .where(tasks.c.job == bindparam("b_job"), tasks.c.task == bindparam("b_task"), tasks.c.state == Settled.OPEN)
    .values({name: bindparam(f"b_{name}") for name in _OUTCOME})
)
# A task that shares another's call has no part in what the call cost.
_SHARED = [tasks.c[name] for name in ("value", "error", "call", "endpoint", "latency_ms", "finish_reason")]


async def get(connection: AsyncConnection, job: int, ids: Sequence[int]) -> dict[int, Task]:
    """These tasks, by id."""
    found: dict[int, Task] = {}
    for some in some_at_a_time(ids):
        query = select(*_TASK).where(tasks.c.job == job, tasks.c.task.in_(some))
        found.update((row.task, Task(*row)) for row in await connection.execute(query))
    return found


async def settle(connection: AsyncConnection, job: int, outcomes: Sequence[TaskOutcome]) -> None:
    """Give tasks that are open their outcome."""
    if outcomes:
        rows = [{"b_job": job} | {f"b_{name}": value for name, value in o._asdict().items()} for o in outcomes]
        await connection.execute(_SETTLE, rows)


async def share(connection: AsyncConnection, job: int, leaders: Sequence[int]) -> list[Task]:
    """Give the outcome of these settled tasks to the open tasks that share their request. Returns those, as settled."""
    shared: list[Task] = []
    outcomes: list[TaskOutcome] = []
    for some in some_at_a_time(leaders):
        followers = (
            await connection.execute(
                select(*_TASK, tasks.c.same_as).where(
                    tasks.c.job == job, tasks.c.same_as.in_(some), tasks.c.state == Settled.OPEN
                )
            )
        ).all()
        if not followers:
            continue
        query = select(tasks.c.task, tasks.c.state, *_SHARED).where(tasks.c.job == job, tasks.c.task.in_(some))
        by_leader = {row.task: row for row in await connection.execute(query)}
        for row in followers:
            leader = by_leader[row.same_as]
            values = {column.name: getattr(leader, column.name) for column in _SHARED}
            outcomes.append(TaskOutcome(task=row.task, state=leader.state, **values))
            shared.append(Task(*row[: len(_TASK)])._replace(state=leader.state))
    await settle(connection, job, outcomes)
    return shared


async def of_units(connection: AsyncConnection, job: int, stage: Stage, units: Sequence[int]) -> dict[int, list[Task]]:
    """All tasks of these chunks or nodes, by unit, in the order of branches and samples."""
    found: dict[int, list[Task]] = {}
    for some in some_at_a_time(units):
        query = (
            select(*_TASK)
            .where(tasks.c.job == job, tasks.c.stage == stage, tasks.c.unit.in_(some))
            .order_by(tasks.c.unit, tasks.c.branch, tasks.c.sample)
        )
        for row in await connection.execute(query):
            found.setdefault(row.unit, []).append(Task(*row))
    return found


_CHUNK = (
    update(chunks)
    .where(chunks.c.job == bindparam("b_job"), chunks.c.chunk == bindparam("b_chunk"), chunks.c.state == Settled.OPEN)
    .values(state=bindparam("b_state"))
)


async def settle_chunks(connection: AsyncConnection, job: int, settled: Iterable[tuple[int, Settled]]) -> None:
    """Close open chunks: (chunk, state)."""
    rows = [{"b_job": job, "b_chunk": chunk, "b_state": state} for chunk, state in settled]
    if rows:
        await connection.execute(_CHUNK, rows)


async def skip_open(connection: AsyncConnection, job: int, stage: Stage) -> None:
    """Give up every open task of a stage, and with the map stage every open chunk."""
    await connection.execute(
        update(tasks)
        .where(tasks.c.job == job, tasks.c.stage == stage, tasks.c.state == Settled.OPEN)
        .values(state=Settled.SKIPPED)
    )
    if stage == Stage.MAP:
        await connection.execute(
            update(chunks).where(chunks.c.job == job, chunks.c.state == Settled.OPEN).values(state=Settled.SKIPPED)
        )


async def chunk_states(connection: AsyncConnection, job: int) -> dict[Settled, int]:
    """Chunks by state: the conservation check, and where a resumed job stands."""
    query = select(chunks.c.state, func.count()).where(chunks.c.job == job).group_by(chunks.c.state)
    return {Settled(state): count for state, count in await connection.execute(query)}


async def open_chunks(connection: AsyncConnection, job: int, ids: Sequence[int]) -> set[int]:
    """Which of these chunks are open."""
    found: set[int] = set()
    for some in some_at_a_time(ids):
        query = select(chunks.c.chunk).where(
            chunks.c.job == job, chunks.c.chunk.in_(some), chunks.c.state == Settled.OPEN
        )
        found.update((await connection.execute(query)).scalars())
    return found


async def awaited(connection: AsyncConnection, job: int, ids: Sequence[int]) -> set[int]:
    """Which of these tasks other open tasks wait for, because they share the request."""
    found: set[int] = set()
    for some in some_at_a_time(ids):
        query = select(tasks.c.same_as).where(
            tasks.c.job == job, tasks.c.same_as.in_(some), tasks.c.state == Settled.OPEN
        )
        found.update((await connection.execute(query)).scalars())
    return found


async def skipped_chunks(connection: AsyncConnection, job: int) -> list[int]:
    """Chunks that were given up."""
    query = select(chunks.c.chunk).where(chunks.c.job == job, chunks.c.state == Settled.SKIPPED)
    return list((await connection.execute(query)).scalars())
