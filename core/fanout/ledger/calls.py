"""Calls in the ledger: ready, leased, answered, lost or cancelled; and trying again is a new call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.ledger.lookup import some_at_a_time
from fanout.ledger.schema import CallState, Settled, calls, tasks

_IDS = msgspec.msgpack.Decoder(list[int])


def encode_ids(ids: Sequence[int]) -> bytes:
    """Task ids as a call stores them."""
    return msgspec.msgpack.encode(list(ids))


class Call(NamedTuple):
    """A call that lives, with what its next try depends on."""

    call: int
    job: int
    lane: int
    tasks: list[int]
    state: int
    rank: int
    not_before: float
    turn: int
    repair: bytes | None
    repaired: bool
    attempts: int
    failures: int
    throttles: int
    faults: int
    endpoint: str | None
    previous: int | None
    why: str
    estimated_tokens: int


_COLUMNS = [calls.c[name] for name in Call._fields]


def _call(row: Any) -> Call:
    values = list(row)
    values[3] = _IDS.decode(values[3])
    return Call(*values)


async def ready(connection: AsyncConnection, job: int, lane: int, *, now: float, limit: int) -> list[Call]:
    """Calls of a lane that may be sent now, in the order to send them."""
    query = (
        select(*_COLUMNS)
        .where(calls.c.job == job, calls.c.lane == lane, calls.c.state == CallState.READY, calls.c.not_before <= now)
        .order_by(calls.c.rank.desc(), calls.c.call)
        .limit(limit)
    )
    return [_call(row) for row in await connection.execute(query)]


async def due(connection: AsyncConnection, job: int) -> list[float]:
    """When the calls that have to wait may be sent, as Unix times, past or to come."""
    query = select(calls.c.not_before).where(
        calls.c.job == job, calls.c.state == CallState.READY, calls.c.not_before > 0.0
    )
    return list((await connection.execute(query)).scalars())


async def leased(connection: AsyncConnection, job: int) -> list[Call]:
    """Calls sent and not answered."""
    query = select(*_COLUMNS).where(calls.c.job == job, calls.c.state == CallState.LEASED)
    return [_call(row) for row in await connection.execute(query)]


async def get(connection: AsyncConnection, ids: Sequence[int]) -> dict[int, Call]:
    """These calls, by id."""
    found: dict[int, Call] = {}
    for some in some_at_a_time(ids):
        query = select(*_COLUMNS).where(calls.c.call.in_(some))
        found.update((row.call, _call(row)) for row in await connection.execute(query))
    return found


async def requests(connection: AsyncConnection, job: int, ids: Sequence[int]) -> dict[int, tuple[bytes, int]]:
    """Packed requests and weights of these tasks; tasks that are settled are left out."""
    found: dict[int, tuple[bytes, int]] = {}
    for some in some_at_a_time(ids):
        query = select(tasks.c.task, tasks.c.request, tasks.c.weight).where(
            tasks.c.job == job, tasks.c.task.in_(some), tasks.c.state == Settled.OPEN
        )
        found.update((row.task, (row.request, row.weight)) for row in await connection.execute(query))
    return found


_LEASE = (
    update(calls)
    .where(calls.c.call == bindparam("b_call"), calls.c.state == CallState.READY)
    .values(
        state=CallState.LEASED,
        tasks=bindparam("b_tasks"),
        endpoint=bindparam("b_endpoint"),
        why=bindparam("b_why"),
        leased_at=bindparam("b_now"),
    )
)


class Sent(NamedTuple):
    """A call about to go out."""

    call: int
    tasks: list[int]
    """Those still open: the answers will be for these."""
    endpoint: str
    why: str


async def lease(connection: AsyncConnection, sent: Iterable[Sent], now: float) -> None:
    """Claim calls before they are published."""
    rows = [
        {"b_call": s.call, "b_tasks": encode_ids(s.tasks), "b_endpoint": s.endpoint, "b_why": s.why, "b_now": now}
        for s in sent
    ]
    if rows:
        await connection.execute(_LEASE, rows)


# Columns that a new try starts with, beside its id and state.
_BORN = (
    "job",
    "lane",
    "tasks",
    "rank",
    "not_before",
    "turn",
    "previous",
    "why",
    "repair",
    "repaired",
    "attempts",
    "failures",
    "throttles",
    "faults",
)


async def insert_again(connection: AsyncConnection, again: Sequence[Call]) -> None:
    """Calls made again, ready once `not_before` has come."""
    rows = [
        {name: getattr(c, name) for name in _BORN}
        | {"call": c.call, "tasks": encode_ids(c.tasks), "state": CallState.READY}
        for c in again
    ]
    if rows:
        await connection.execute(insert(calls), rows)


_ANSWERED_FIELDS = (
    "state",
    "outcome",
    "sent",
    "http_status",
    "request_id",
    "error",
    "latency_ms",
    "attempts",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "estimated_tokens",
    "cost",
)
_ANSWERED = (
    update(calls)
    .where(calls.c.call == bindparam("b_call"))
    .values({name: bindparam(f"b_{name}") for name in _ANSWERED_FIELDS})
)


async def set_answered(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """What became of calls: dicts of `call` and _ANSWERED_FIELDS."""
    if rows:
        await connection.execute(_ANSWERED, [{f"b_{name}": value for name, value in row.items()} for row in rows])


_LOST = (
    update(calls)
    .where(calls.c.call == bindparam("b_call"))
    .values(
        state=CallState.LOST,
        outcome="Lost",
        sent=True,
        attempts=calls.c.attempts + 1,
        estimated_tokens=bindparam("b_tokens"),
    )
)


async def set_lost(connection: AsyncConnection, lost: Sequence[tuple[int, int]]) -> None:
    """Nobody will answer these calls any more: (call, estimated input tokens, which it may have cost)."""
    if lost:
        await connection.execute(_LOST, [{"b_call": call, "b_tokens": tokens} for call, tokens in lost])


async def cancel(connection: AsyncConnection, ids: Sequence[int]) -> None:
    """Give up these calls."""
    for some in some_at_a_time(ids):
        named = calls.c.call.in_(some)
        live = calls.c.state.in_((CallState.READY, CallState.LEASED))
        await connection.execute(update(calls).where(named, live).values(state=CallState.CANCELLED))


async def cancel_all(connection: AsyncConnection, job: int, *, below_lane: int) -> list[tuple[int, str | None]]:
    """Give up every live call of the lanes below this one. Returns (call, endpoint) of those in flight."""
    live = (calls.c.job == job, calls.c.lane < below_lane)
    query = select(calls.c.call, calls.c.endpoint).where(*live, calls.c.state == CallState.LEASED)
    in_flight = [(row.call, row.endpoint) for row in await connection.execute(query)]
    for state in (CallState.READY, CallState.LEASED):
        await connection.execute(update(calls).where(*live, calls.c.state == state).values(state=CallState.CANCELLED))
    return in_flight
