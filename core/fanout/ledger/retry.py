"""Running the failed tasks of a finished job again, and only those."""

from __future__ import annotations

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.ledger.calls import encode_ids
from fanout.ledger.plan import PlannedCall, insert_calls
from fanout.ledger.schema import Settled, Stage, chunks, jobs, nodes, tasks
from fanout.ledger.store import Ledger

# What a task that is open again forgets. Its calls stay: they were paid for.
_FORGOTTEN = {
    "state": Settled.OPEN, "value": None, "error": None, "call": None, "endpoint": None, "attempts": 0, "latency_ms": None,
    "finish_reason": None, "same_as": None, "input_tokens": 0, "output_tokens": 0, "cost": 0,
}  # fmt: skip


async def reopen_failed(connection: AsyncConnection, ledger: Ledger, job: int) -> int:
    """Open the chunks of a finished job that failed or were skipped; what succeeded stays. Returns how many.

    Chunks that could not be planned (a broken record) stay failed: their input is not read again. The reduce step starts anew,
    since what it reduces changes.
    """
    again = (
        select(chunks.c.chunk)
        .where(chunks.c.job == job, chunks.c.state.in_((Settled.FAILED, Settled.SKIPPED)), chunks.c.error.is_(None))
        .scalar_subquery()
    )
    unsettled = (
        tasks.c.job == job,
        tasks.c.stage == Stage.MAP,
        tasks.c.unit.in_(again),
        tasks.c.state.in_((Settled.FAILED, Settled.SKIPPED)),
    )
    rows = (await connection.execute(select(tasks.c.task, tasks.c.branch, tasks.c.weight).where(*unsettled))).all()
    # Each goes alone: the one that it once shared a request with may have an answer that counts elsewhere.
    await connection.execute(update(tasks).where(*unsettled).values(**_FORGOTTEN))
    reopened = await connection.execute(
        update(chunks)
        .where(chunks.c.job == job, chunks.c.state.in_((Settled.FAILED, Settled.SKIPPED)), chunks.c.error.is_(None))
        .values(state=Settled.OPEN)
    )
    await insert_calls(
        connection,
        (PlannedCall(ledger.new_call(), job, row.branch, encode_ids([row.task]), row.weight) for row in rows),
    )
    await connection.execute(delete(nodes).where(nodes.c.job == job))
    await connection.execute(delete(tasks).where(tasks.c.job == job, tasks.c.stage == Stage.REDUCE))
    await connection.execute(
        update(jobs).where(jobs.c.job == job).values(finished_at=None, ending=None, stop_reason=None)
    )
    return int(reopened.rowcount)
