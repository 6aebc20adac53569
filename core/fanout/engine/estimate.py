"""What a job would do and cost, found by planning it for real into a ledger that is thrown away; nothing is called."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.api.endpoint import ModelEndpointSpec
from fanout.api.job import FanOutJob
from fanout.dispatch.lane import Lane
from fanout.engine.lanes import build_lanes, endpoints_of, synthesis
from fanout.ledger import calls, jobs
from fanout.ledger.blobs import unpack
from fanout.ledger.schema import Settled
from fanout.ledger.schema import calls as calls_table
from fanout.ledger.schema import chunks as chunks_table
from fanout.ledger.schema import tasks as tasks_table
from fanout.ledger.settle import Task
from fanout.ledger.store import Ledger
from fanout.planning.assemble.chat import AssembleChat
from fanout.planning.frames import FromParser
from fanout.planning.planner import Planned, Planner
from fanout.planning.tokens import estimate

ANSWER_TOKENS = 256  # assumed where max_tokens does not say


@dataclass
class LaneEstimate:
    """One branch's, or the reduce step's, part."""

    name: str
    calls: int = 0
    tasks: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    """At most, by max_tokens; assumed where it is not set."""
    assumed: bool = False
    cost: Decimal | None = None
    request: bytes | None = None
    """The first call's body."""
    waves: list[int] = field(default_factory=list)
    """Calls that can be made at the same time, one wave after the other."""

    def seconds(self, slots: int, per_call: float) -> float:
        """Time that the calls take, at so many at once."""
        return sum(-(-calls // slots) * per_call for calls in self.waves)


@dataclass
class Estimate:
    """What the plan says."""

    chunks: int = 0
    failed: int = 0
    problems: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Of the chunks that failed, by reason: how many, and the first one's message."""
    deduplicated: int = 0
    lanes: list[LaneEstimate] = field(default_factory=list)
    currency: str | None = None


async def estimate_job(
    job: FanOutJob,
    endpoints: Mapping[str, ModelEndpointSpec],
    systems: Sequence[str],
    frames: AsyncIterator[FromParser],
    folder: Path,
) -> Estimate:
    """Plan the job in `folder`. Raises InputFailedError."""
    ledger = await Ledger.open(folder / "plan.db")
    try:
        async with ledger.write() as connection:
            record = await jobs.create(
                connection, uid="plan", namespace="", name=job.name, spec="{}", systems=list(systems)
            )
        found = Estimate()

        def count(planned: Planned) -> None:
            found.chunks += planned.chunks
            found.failed += planned.failed
            found.deduplicated += planned.deduplicated

        await Planner(ledger, record, job.spec, _settle_nothing).plan(frames, count)
        lanes = build_lanes(job.spec, systems, "")
        async with ledger.read() as connection:
            found.problems = await _problems(connection, record.job) if found.failed else {}
            for branch, lane in zip(job.spec.map.branches, lanes, strict=False):
                found.lanes.append(await _lane(connection, record.job, branch.name, lane, endpoints))
    finally:
        await ledger.close()
    _add_synthesis(job, endpoints, found)
    pricing = [endpoints[name].pricing for name in endpoints_of(job.spec)]
    if all(pricing):
        found.currency = next(p.currency for p in pricing if p is not None)
    return found


async def _problems(connection: AsyncConnection, job: int) -> dict[str, tuple[int, str]]:
    problems: dict[str, tuple[int, str]] = {}
    failed = select(chunks_table.c.error).where(chunks_table.c.job == job, chunks_table.c.state == Settled.FAILED)
    async for (text,) in await connection.stream(failed.order_by(chunks_table.c.chunk)):
        error = json.loads(text)
        count, message = problems.get(error["reason"], (0, error["message"]))
        problems[error["reason"]] = count + 1, message
    return problems


async def _lane(
    connection: AsyncConnection,
    job: int,
    name: str,
    lane: Lane,
    endpoints: Mapping[str, ModelEndpointSpec],
) -> LaneEstimate:
    found = LaneEstimate(name)
    here = (tasks_table.c.job == job, tasks_table.c.branch == lane.index, tasks_table.c.same_as.is_(None))
    row = (await connection.execute(select(func.count(), func.sum(tasks_table.c.weight)).where(*here))).one()
    found.tasks, found.input_tokens = row[0], int(row[1] or 0)
    lane_calls = (calls_table.c.job == job, calls_table.c.lane == lane.index)
    found.calls = int(await connection.scalar(select(func.count()).where(*lane_calls)) or 0)
    found.waves = [found.calls]
    if isinstance(lane.assemble, AssembleChat) and found.calls:
        _add_shared(found, lane.assemble)
    endpoint = endpoints[lane.endpoints[0]]
    found.cost = _cost(found, endpoint)
    first = await calls.ready(connection, job, lane.index, now=0.0, limit=1)
    if first:
        requests = await calls.requests(connection, job, first[0].tasks)
        bodies = [unpack(requests[task][0]) for task in first[0].tasks]
        found.request = lane.assemble(bodies, endpoint, None).body
    return found


def _add_shared(found: LaneEstimate, chat: AssembleChat) -> None:
    """What calls take up beside their tasks, and how long their answers may get."""
    tasks = -(-found.tasks // found.calls)
    found.input_tokens += found.calls * chat.shared_tokens(tasks)
    most = chat.most_output_tokens(tasks)
    found.assumed = most is None
    found.output_tokens = found.tasks * ANSWER_TOKENS if most is None else found.calls * most


def _add_synthesis(job: FanOutJob, endpoints: Mapping[str, ModelEndpointSpec], found: Estimate) -> None:
    """The tree's calls, by its fan-in; their tokens follow from how long the answers may get."""
    step = synthesis(job.spec)
    if step is None or not found.chunks:
        return
    lane = LaneEstimate("synthesis")
    width = found.chunks
    while True:
        below, width = width, -(-width // step.max_parts_per_call)
        lane.calls += width
        lane.tasks += below
        lane.waves.append(width)
        if width == 1:
            break
    chat = AssembleChat(lane.name, step.system or "", step.parameters)
    most = chat.most_output_tokens(1)
    lane.assumed = most is None
    per_answer = ANSWER_TOKENS if most is None else most
    lane.input_tokens = lane.tasks * per_answer + lane.calls * (estimate(step.prompt) + chat.shared_tokens(1))
    lane.output_tokens = lane.calls * per_answer
    lane.cost = _cost(lane, endpoints[step.endpoints[0]])
    found.lanes.append(lane)


def _cost(found: LaneEstimate, endpoint: ModelEndpointSpec) -> Decimal | None:
    if endpoint.pricing is None:
        return None
    price_in = Decimal(endpoint.pricing.input_per_million_tokens)
    price_out = Decimal(endpoint.pricing.output_per_million_tokens)
    return (found.input_tokens * price_in + found.output_tokens * price_out) / 1_000_000


async def _settle_nothing(connection: AsyncConnection, job: int, tasks: Sequence[Task]) -> list[int]:  # noqa: ARG001
    return []
