"""Nodes of a reduce step's tree: each is a task of stage REDUCE, planned with its inputs, so that a restart repays none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import func, insert, select
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.ledger.schema import Settled, Stage, chunks, nodes, tasks


class Node(NamedTuple):
    """A node and how far it is."""

    node: int
    level: int
    position: int
    part: int
    state: int


_IS_ITS_TASK = (tasks.c.job == nodes.c.job) & (tasks.c.stage == Stage.REDUCE) & (tasks.c.unit == nodes.c.node)


async def load(connection: AsyncConnection, job: int) -> list[Node]:
    """All nodes of a job."""
    query = (
        select(nodes.c.node, nodes.c.level, nodes.c.position, nodes.c.part, tasks.c.state)
        .join(tasks, _IS_ITS_TASK)
        .where(nodes.c.job == job)
        .order_by(nodes.c.node)
    )
    return [Node(*row) for row in await connection.execute(query)]


async def insert_nodes(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """New nodes; their tasks are stored with them."""
    if rows:
        await connection.execute(insert(nodes), rows)


async def outputs(connection: AsyncConnection, job: int, level: int, first: int, last: int) -> list[Row[Any]]:
    """State, value and error of the nodes of a level's groups `first` to `last` (inclusive), in order."""
    query = (
        select(nodes.c.node, tasks.c.state, tasks.c.value, tasks.c.error)
        .join(tasks, _IS_ITS_TASK)
        .where(nodes.c.job == job, nodes.c.level == level, nodes.c.position.between(first, last))
        .order_by(nodes.c.position, nodes.c.part)
    )
    return list(await connection.execute(query))


async def settled_chunks(connection: AsyncConnection, job: int, group: int) -> dict[int, int]:
    """How many chunks are settled in each run of `group` chunks."""
    number = chunks.c.chunk // group
    query = select(number, func.count()).where(chunks.c.job == job, chunks.c.state != Settled.OPEN).group_by(number)
    return {int(position): count for position, count in await connection.execute(query)}
