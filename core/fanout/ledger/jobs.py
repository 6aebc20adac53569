"""Jobs in the ledger: created once, found again on resume, ended once."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.ledger.schema import jobs


@dataclass(frozen=True)
class Ending:
    """How a job ended, or why it is being stopped."""

    reason: str
    message: str


@dataclass
class JobRecord:
    """What the ledger knows of a job as a whole."""

    job: int
    uid: str
    namespace: str
    name: str
    spec: str
    """JSON, as given."""
    created_at: float
    systems: list[str] = field(default_factory=list)
    items: int = 0
    input_digest: bytes = b""
    planned: bool = False
    stop: Ending | None = None
    finished_at: float | None = None
    ending: Ending | None = None
    dropped: int = 0


async def create(
    connection: AsyncConnection, *, uid: str, namespace: str, name: str, spec: str, systems: list[str]
) -> JobRecord:
    """A new job. The rendered system messages are kept: a resumed job must send what it sent before."""
    last = await connection.scalar(select(func.max(jobs.c.job)))
    record = JobRecord((last or 0) + 1, uid, namespace, name, spec, time.time(), systems)
    await connection.execute(
        insert(jobs).values(
            job=record.job,
            uid=uid,
            namespace=namespace,
            name=name,
            spec=spec,
            systems=json.dumps(systems),
            created_at=record.created_at,
        )
    )
    return record


async def find(connection: AsyncConnection, uid: str) -> JobRecord | None:
    """The job with this UID, if the ledger has it."""
    row = (await connection.execute(select(jobs).where(jobs.c.uid == uid))).first()
    if row is None:
        return None
    return JobRecord(
        job=row.job,
        uid=row.uid,
        namespace=row.namespace,
        name=row.name,
        spec=row.spec,
        created_at=row.created_at,
        systems=json.loads(row.systems),
        items=row.items,
        input_digest=row.input_digest,
        planned=row.planned,
        stop=_ending(row.stop_reason),
        finished_at=row.finished_at,
        ending=_ending(row.ending),
        dropped=row.dropped,
    )


async def set_cursor(connection: AsyncConnection, job: int, items: int, input_digest: bytes) -> None:
    """How far planning is."""
    await connection.execute(update(jobs).where(jobs.c.job == job).values(items=items, input_digest=input_digest))


async def set_spec(connection: AsyncConnection, job: int, spec: str) -> None:
    """A mutable field changed."""
    await connection.execute(update(jobs).where(jobs.c.job == job).values(spec=spec))


async def forget(connection: AsyncConnection, job: int) -> None:
    """Remove a job of which nothing was planned."""
    await connection.execute(delete(jobs).where(jobs.c.job == job))


async def set_planned(connection: AsyncConnection, job: int) -> None:
    """The input was read to its end; it is not needed any more."""
    await connection.execute(update(jobs).where(jobs.c.job == job).values(planned=True))


async def set_stop(connection: AsyncConnection, job: int, stop: Ending) -> None:
    """The job stops before all is answered."""
    await connection.execute(update(jobs).where(jobs.c.job == job).values(stop_reason=_json(stop)))


async def finish(connection: AsyncConnection, job: int, ending: Ending) -> float:
    """The job is over. Returns when, as Unix time."""
    now = time.time()
    await connection.execute(update(jobs).where(jobs.c.job == job).values(finished_at=now, ending=_json(ending)))
    return now


async def count_dropped(connection: AsyncConnection, dropped: dict[int, int]) -> None:
    """Add answers that came second, per job."""
    for job, count in dropped.items():
        await connection.execute(update(jobs).where(jobs.c.job == job).values(dropped=jobs.c.dropped + count))


def _json(ending: Ending) -> str:
    return json.dumps({"reason": ending.reason, "message": ending.message})


def _ending(text: str | None) -> Ending | None:
    return None if text is None else Ending(**json.loads(text))
