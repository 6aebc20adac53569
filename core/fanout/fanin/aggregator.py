"""The aggregator: takes results as they come, commits them in batches, acknowledges after the commit, wakes the others.

While one batch is being committed the next one gathers, so the batches grow with the load and a commit's cost is shared.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.api.endpoint import Pricing
from fanout.broker.messages import Answer, Heartbeat, Report, ResultMessage
from fanout.broker.outcome import THROTTLED, Outcome
from fanout.broker.port import Broker, Delivery, Subscription
from fanout.dispatch.dispatcher import Dispatcher
from fanout.dispatch.lane import Lane
from fanout.dispatch.verdict import Again, Verdict, judge
from fanout.fanin.accounting import Charge, charge, share_out
from fanout.fanin.chunks import settle_chunks_of
from fanout.fanin.combine.port import CombineStrategy
from fanout.ledger import calls, jobs, settle
from fanout.ledger.blobs import pack
from fanout.ledger.calls import Call
from fanout.ledger.errors import error_json
from fanout.ledger.schema import CallState, Settled, Stage
from fanout.ledger.settle import Task, TaskOutcome
from fanout.ledger.store import Ledger
from fanout.ledger.texts import storable

log = logging.getLogger(__name__)

# Results that come together are committed together: a batch closes when none has come for QUIET_SECONDS, at the latest after
# LONGEST_GATHER_SECONDS. The next calls, for the slots that these results have freed, go first: they want the ledger right now.
QUIET_SECONDS = 0.005
LONGEST_GATHER_SECONDS = 0.02
PREFETCH = 2000  # results unacknowledged: what one batch may hold
COUNTED_CALLS = ("made", "retried", "rate_limited", "failed_over")


@dataclass
class Batch:
    """What one commit did to one job."""

    chunks: dict[int, Settled] = field(default_factory=dict)
    nodes: list[int] = field(default_factory=list)
    """Reduce nodes whose call is settled."""
    counts: Counter[str] = field(default_factory=Counter)
    """Calls by what became of them, and tokens and cost, by the names of Charge and COUNTED_CALLS."""
    latencies: list[float] = field(default_factory=list)
    """Seconds, of the accepted calls."""
    last_accepted: float | None = None
    """Event-loop time."""
    error: str | None = None
    """The latest thing that went wrong, for people."""


@dataclass(frozen=True)
class JobView:
    """What the aggregator needs to know of a job."""

    job: int
    lanes: Sequence[Lane]
    combine: CombineStrategy
    answers_per_chunk: int
    on_batch: Callable[[Batch], None]


@dataclass
class _Writes:
    """One job's part of a commit."""

    view: JobView
    batch: Batch = field(default_factory=Batch)
    outcomes: list[TaskOutcome] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    """Settled, with their new state."""
    again: list[Call] = field(default_factory=list)
    answered: list[dict[str, object]] = field(default_factory=list)
    dropped: int = 0
    superseded: set[int] = field(default_factory=set)
    """Tasks settled by a call that was given up: another call may still carry them."""


class Aggregator:
    """One for all jobs."""

    def __init__(
        self,
        ledger: Ledger,
        broker: Broker,
        dispatcher: Dispatcher,
        *,
        random: Random | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._broker = broker
        self._dispatcher = dispatcher
        self._random = random or Random()
        self._wall = wall
        self._jobs: dict[int, JobView] = {}
        self._pricing: Mapping[str, Pricing | None] = {}
        self._arrived: list[tuple[ResultMessage, Delivery[Report] | None]] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._subscription: Subscription | None = None
        dispatcher.on_lost = self._lost

    def add_job(self, view: JobView, pricing: Mapping[str, Pricing | None]) -> None:
        """Results of this job are accepted from now on."""
        self._jobs[view.job] = view
        self._pricing = {**self._pricing, **pricing}

    def remove_job(self, job: int) -> None:
        """The job is over."""
        self._jobs.pop(job, None)

    async def run(self) -> None:
        """Take results until cancelled."""
        self._subscription = await self._broker.consume_reports(PREFETCH, self._arrive)
        try:
            while True:
                await self._wake.wait()
                self._idle.clear()
                await self._gather()
                self._wake.clear()
                arrived, self._arrived = self._arrived, []
                if arrived:
                    await self._commit(arrived)
                self._idle.set()
        finally:
            await self._subscription.close()

    async def _gather(self) -> None:
        loop = asyncio.get_running_loop()
        latest = loop.time() + LONGEST_GATHER_SECONDS
        count = 0
        while count < len(self._arrived) < PREFETCH and loop.time() < latest:
            count = len(self._arrived)
            await asyncio.sleep(QUIET_SECONDS)

    async def settle(self) -> None:
        """Return when every result that has arrived is committed."""
        while self._arrived or not self._idle.is_set():
            await self._idle.wait()
            await asyncio.sleep(0)

    def _arrive(self, delivery: Delivery[Report]) -> None:
        match delivery.message:
            case Heartbeat() as beat:
                self._dispatcher.heartbeat(beat)
                # A heartbeat has nothing to lose: acknowledged unseen.
                self._background(delivery)
            case ResultMessage() as result:
                if result.epoch == self._ledger.epoch:
                    self._dispatcher.answered(result)
                self._arrived.append((result, delivery))
                self._wake.set()

    def _background(self, delivery: Delivery[Report]) -> None:
        task = asyncio.ensure_future(delivery.ack())
        _keep.add(task)
        task.add_done_callback(_keep.discard)

    def _lost(self, results: list[ResultMessage]) -> None:
        self._arrived += [(result, None) for result in results]
        self._wake.set()

    async def _commit(self, arrived: list[tuple[ResultMessage, Delivery[Report] | None]]) -> None:
        writes: dict[int, _Writes] = {}
        cancelled: list[int] = []
        async with self._ledger.write() as connection:
            first, doubles = _first_of_each(result for result, _ in arrived)
            known = await calls.get(connection, list(first))
            by_job: dict[int, list[tuple[Call, ResultMessage]]] = defaultdict(list)
            for number, result in first.items():
                call = known.get(number)
                if call is None or call.job not in self._jobs or call.state == CallState.READY:
                    log.info("result without a lease", extra={"action": "result_unknown", "call": number})
                    continue
                by_job[call.job].append((call, result))
                writes.setdefault(call.job, _Writes(self._jobs[call.job])).dropped += doubles[number]
            for job, results in by_job.items():
                write = writes[job]
                await self._take(connection, write, results)
                cancelled += await self._settle(connection, write)
            await jobs.count_dropped(connection, {job: w.dropped for job, w in writes.items() if w.dropped})
        # Nobody else may write between the commit and this: who counts in the ledger must not count a batch twice.
        for job, write in writes.items():
            self._dispatcher.ready(
                job, {c.lane for c in write.again}, [c.not_before for c in write.again if c.not_before]
            )
            write.view.on_batch(write.batch)
        for _, delivery in arrived:
            if delivery is not None:
                await delivery.ack()
        if cancelled:
            await self._dispatcher.cancel(cancelled)

    async def _take(
        self, connection: AsyncConnection, write: _Writes, results: Sequence[tuple[Call, ResultMessage]]
    ) -> None:
        """Judge each result, and note what is to be written."""
        wanted = [task for call, _ in results for task in call.tasks]
        tasks = await settle.get(connection, write.view.job, wanted)
        for call, result in results:
            if call.state == CallState.LEASED:
                self._take_one(write, call, result, tasks)
            elif call.state == CallState.LOST and result.outcome == Outcome.SUCCEEDED:
                self._take_late(write, call, result, tasks)
            elif call.state == CallState.CANCELLED:
                self._take_cost(write, call, result, tasks)
                write.dropped += result.outcome == Outcome.SUCCEEDED
            else:
                write.dropped += 1

    def _take_late(self, write: _Writes, call: Call, result: ResultMessage, tasks: dict[int, Task]) -> None:
        """The lease had run out, and the call was counted and made again then. An answer that comes first is still one."""
        write.batch.counts.subtract(count_call(sent=True, why=call.why, outcome=Outcome.LOST))
        write.batch.counts["estimated_tokens"] -= call.estimated_tokens
        verdict = self._take_one(write, call._replace(attempts=call.attempts - 1), result, tasks, late=True)
        write.superseded.update(task for task, _ in verdict.settled)

    def _take_one(
        self, write: _Writes, call: Call, result: ResultMessage, tasks: dict[int, Task], *, late: bool = False
    ) -> Verdict:
        lane = write.view.lanes[call.lane]
        still_open = [task for task in call.tasks if tasks[task].state == Settled.OPEN]
        write.dropped += (len(call.tasks) - len(still_open)) if result.outcome == Outcome.SUCCEEDED else 0
        verdict = judge(call, result, lane, still_open, self._random)
        if late:  # what else it says is up to the call that was made again
            verdict.settled = [(t, answer) for t, answer in verdict.settled if answer.outcome == Outcome.SUCCEEDED]
            verdict.again = []
        weights = [tasks[task].weight for task in call.tasks]
        cost = charge(result, sum(weights), self._pricing.get(result.endpoint))
        shares = dict(zip(call.tasks, _shares(cost, weights), strict=True))
        for task, answer in verdict.settled:
            outcome = _outcome(task, answer, result, call, verdict, shares[task])
            write.outcomes.append(outcome)
            tasks[task] = tasks[task]._replace(state=outcome.state, attempts=outcome.attempts)
            write.tasks.append(tasks[task])
        now = self._wall()
        write.again += [self._again(again, call, now) for again in verdict.again]
        write.answered.append(_answered(call, result, verdict, cost))
        self._count(write.batch, call, result, verdict, cost)
        return verdict

    def _take_cost(self, write: _Writes, call: Call, result: ResultMessage, tasks: dict[int, Task]) -> None:
        """A call that was given up has its price all the same."""
        cost = charge(result, sum(tasks[task].weight for task in call.tasks), self._pricing.get(result.endpoint))
        verdict = Verdict(attempts=call.attempts)
        write.answered.append(_answered(call, result, verdict, cost) | {"state": CallState.CANCELLED})
        self._count(write.batch, call, result, verdict, cost)

    def _again(self, again: Again, call: Call, now: float) -> Call:
        part = len(again.tasks) / len(call.tasks)
        return call._replace(
            call=self._ledger.new_call(),
            tasks=again.tasks,
            state=CallState.READY,
            rank=int(call.rank * part),
            not_before=now + again.delay if again.delay else 0.0,
            turn=again.turn,
            repair=again.repair,
            repaired=again.repaired,
            attempts=again.attempts,
            failures=again.failures,
            throttles=again.throttles,
            faults=again.faults,
            previous=call.call,
            why=again.why,
        )

    def _count(self, batch: Batch, call: Call, result: ResultMessage, verdict: Verdict, cost: Charge) -> None:
        counts = batch.counts
        counts.update(count_call(sent=result.sent, why=call.why, outcome=result.outcome))
        for name in Charge.__dataclass_fields__:
            counts[name] += getattr(cost, name)
        if result.outcome == Outcome.SUCCEEDED and verdict.settled:
            batch.latencies.append(result.latency_seconds)
            batch.last_accepted = asyncio.get_running_loop().time()
        elif result.error:
            batch.error = f"{result.outcome}: {result.error}"

    async def _settle(self, connection: AsyncConnection, write: _Writes) -> list[int]:
        """Write a job's part. Returns the calls that are not needed any more."""
        job = write.view.job
        await settle.settle(connection, job, write.outcomes)
        shared = await settle.share(connection, job, [outcome.task for outcome in write.outcomes])
        map_tasks = [task for task in (*write.tasks, *shared) if task.stage == Stage.MAP]
        write.batch.nodes = [task.unit for task in write.tasks if task.stage == Stage.REDUCE]
        done = await settle_chunks_of(connection, job, map_tasks, write.view.combine, write.view.answers_per_chunk)
        write.batch.chunks = done.states
        await calls.set_answered(connection, write.answered)
        await calls.insert_again(connection, write.again)
        unneeded = set(done.unneeded) | write.superseded
        if not unneeded:
            return []
        cancelled = self._dispatcher.carrying(job, unneeded)
        await calls.cancel(connection, cancelled)
        return cancelled


_keep: set[asyncio.Future[None]] = set()


def _first_of_each(results: Iterable[ResultMessage]) -> tuple[dict[int, ResultMessage], Counter[int]]:
    """One result per call, and how often each call was answered once more. A worker's word comes before a lost lease."""
    first: dict[int, ResultMessage] = {}
    doubles: Counter[int] = Counter()
    for result in results:
        before = first.get(result.call)
        if before is None or before.outcome == Outcome.LOST:
            first[result.call] = result
        elif result.outcome != Outcome.LOST:
            doubles[result.call] += 1
    return first, doubles


def count_call(*, sent: bool, why: str, outcome: str) -> dict[str, int]:
    """How one call counts in `status.calls`: the same live and when a resumed job counts again."""
    return {
        "made": int(sent),
        "retried": int(sent and why in ("Retry", "Failover", "Repair")),
        "rate_limited": int(outcome in THROTTLED),
        "failed_over": int(sent and why == "Failover"),
    }


def _shares(cost: Charge, weights: list[int]) -> list[tuple[int, int, int]]:
    """Each task's input tokens, output tokens and cost."""
    parts = (share_out(total, weights) for total in (cost.input_tokens, cost.output_tokens, cost.cost))
    return list(zip(*parts, strict=True))


def _outcome(
    task: int, answer: Answer, result: ResultMessage, call: Call, verdict: Verdict, share: tuple[int, int, int]
) -> TaskOutcome:
    succeeded = answer.outcome == Outcome.SUCCEEDED
    error = None
    if not succeeded:
        error = error_json(
            answer.outcome,
            answer.fault or result.error,
            http_status=result.http_status,
            endpoint=result.endpoint,
            request_id=result.request_id,
            attempts=verdict.attempts,
        )
    return TaskOutcome(
        task=task,
        state=Settled.SUCCEEDED if succeeded else Settled.FAILED,
        value=pack(answer.value) if answer.value else None,
        error=error,
        call=call.call,
        endpoint=result.endpoint,
        attempts=verdict.attempts,
        latency_ms=round(result.latency_seconds * 1000),
        finish_reason=storable(answer.finish_reason) or None,
        input_tokens=share[0],
        output_tokens=share[1],
        cost=share[2],
    )


def _answered(call: Call, result: ResultMessage, verdict: Verdict, cost: Charge) -> dict[str, object]:
    lost = result.outcome == Outcome.LOST
    return {
        "call": call.call,
        "state": CallState.LOST if lost else CallState.ANSWERED,
        "outcome": str(result.outcome),
        "sent": result.sent,
        "http_status": result.http_status,
        "request_id": None if result.request_id is None else storable(result.request_id),
        "error": storable(result.error) or None,
        "latency_ms": round(result.latency_seconds * 1000),
        "attempts": verdict.attempts,
        "input_tokens": cost.input_tokens,
        "cached_input_tokens": cost.cached_input_tokens,
        "output_tokens": cost.output_tokens,
        "estimated_tokens": cost.estimated_tokens,
        "cost": cost.cost,
    }
