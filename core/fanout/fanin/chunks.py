"""Settling chunks: what their tasks' outcomes mean for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.fanin.combine.port import CombineStrategy
from fanout.ledger import settle
from fanout.ledger.schema import Settled, Stage
from fanout.ledger.settle import Task, TaskOutcome


@dataclass
class SettledChunks:
    """What a batch of task outcomes did to their chunks."""

    states: dict[int, Settled] = field(default_factory=dict)
    """Chunks that are settled now."""
    unneeded: list[int] = field(default_factory=list)
    """Tasks that were given up: their chunk has its answer."""


async def settle_chunks_of(
    connection: AsyncConnection, job: int, tasks: Sequence[Task], combine: CombineStrategy, answers_per_chunk: int
) -> SettledChunks:
    """Settle the chunks of these map tasks, which were settled in this transaction, where the strategy allows it."""
    done = SettledChunks()
    if answers_per_chunk == 1:
        done.states = {task.unit: Settled(task.state) for task in tasks}
    else:
        still_open = await settle.open_chunks(connection, job, sorted({task.unit for task in tasks}))
        of_chunks = await settle.of_units(connection, job, Stage.MAP, sorted(still_open))
        for chunk, answers in of_chunks.items():
            state = combine.settle(answers)
            if state is not None:
                done.states[chunk] = state
                done.unneeded += [task.task for task in answers if task.state == Settled.OPEN]
        # What another chunk's task shares is not given up with the chunk that asked first.
        awaited = await settle.awaited(connection, job, done.unneeded)
        done.unneeded = [task for task in done.unneeded if task not in awaited]
        await settle.settle(connection, job, [TaskOutcome(task, Settled.SKIPPED) for task in done.unneeded])
    await settle.settle_chunks(connection, job, done.states.items())
    return done
