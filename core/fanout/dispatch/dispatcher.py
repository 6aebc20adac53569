"""The dispatcher: sends a call only into a free slot, and holds the lease until its answer comes or the worker falls silent."""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.api.endpoint import ModelEndpointSpec
from fanout.broker.messages import CallMessage, Cancel, Heartbeat, ResultMessage
from fanout.broker.outcome import THROTTLED, Outcome
from fanout.broker.port import Broker
from fanout.dispatch.backoff import full_jitter
from fanout.dispatch.lane import Lane
from fanout.dispatch.queue import JobQueue, LaneQueue, Prepared
from fanout.dispatch.window import Window
from fanout.ledger import calls as ledger_calls
from fanout.ledger.blobs import unpack
from fanout.ledger.calls import Call
from fanout.ledger.store import Ledger

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """How the dispatcher works. Times in seconds."""

    lease_seconds: float = 30.0
    """How long a call's worker may be silent before the call is sent again: six heartbeats, so that one or two lost ones,
    or a garbage collection, cost nothing."""
    start_by_seconds: float = 20.0
    """How long a message may wait for a worker to begin it; less than the lease, so that it never runs twice."""
    page: int = 256
    """Calls read from the ledger at a time, per lane: enough for the largest window to be filled in one go."""
    page_bytes: int = 16 * 1024 * 1024
    """Requests held ready in memory per lane, at most."""
    longest_pause_seconds: float = 60.0
    """Longest wait of a throttled endpoint that does not say how long."""


@dataclass
class Lease:
    """A call that is out."""

    prepared: Prepared
    lane: Lane
    endpoint: str
    expires: float


class Dispatcher:
    """Decides what is sent when. One for all jobs: they share the endpoints' windows."""

    def __init__(
        self,
        ledger: Ledger,
        broker: Broker,
        *,
        settings: Settings | None = None,
        random: Random | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings or Settings()
        self.random = random or Random()
        self.windows: dict[str, Window] = {}
        self.leases: dict[int, Lease] = {}
        self.jobs: dict[int, JobQueue] = {}
        self.paused = False
        """Send nothing (the run is being interrupted)."""
        self.on_lost: Callable[[list[ResultMessage]], None] = lambda _lost: None
        self.on_sent: Callable[[int], None] = lambda _job: None
        self._ledger = ledger
        self._broker = broker
        self._wall = wall
        self._endpoints: dict[str, ModelEndpointSpec] = {}
        self._turns: list[int] = []
        self._withdrawn: set[int] = set()
        self._withdrawals = 0
        self._checked = 0.0
        self._wake = asyncio.Event()

    # What the others tell it

    def add_endpoint(self, name: str, spec: ModelEndpointSpec) -> None:
        """Calls may go to this endpoint."""
        self._endpoints[name] = spec
        self.windows.setdefault(name, Window(spec.limits.concurrency, self.settings.lease_seconds))

    def add_job(self, queue: JobQueue) -> None:
        """Calls of this job are sent from now on."""
        self.jobs[queue.job] = queue
        self._turns.append(queue.job)
        self._wake.set()

    def remove_job(self, job: int) -> None:
        """The job is over."""
        self.jobs.pop(job, None)
        if job in self._turns:
            self._turns.remove(job)

    def ready(self, job: int, lanes: Iterable[int], due: Iterable[float] = ()) -> None:
        """The ledger holds new calls of these lanes; those that wait are `due` at these Unix times."""
        queue = self.jobs.get(job)
        if queue is None:
            return
        for lane in lanes:
            queue.lanes[lane].stale = True
        for when in due:
            heapq.heappush(queue.due, when)
        self._wake.set()

    def heartbeat(self, beat: Heartbeat) -> None:
        """A worker lives and holds these calls."""
        window = self.windows.get(beat.endpoint)
        if window is None:
            return
        now = self._now()
        window.heartbeat(beat.worker, beat.slots, now)
        for call in beat.calls:
            if (lease := self.leases.get(call)) is not None:
                lease.expires = now + self.settings.lease_seconds
        self._wake.set()

    def answered(self, result: ResultMessage) -> None:
        """A result arrived: its slot is free before anything is written down."""
        window = self.windows.get(result.endpoint)
        if window is not None:
            if result.outcome in THROTTLED:
                window.throttles += 1
                wait = result.retry_after_seconds
                if not wait:  # "at once" from one that has just refused is no advice
                    wait = full_jitter(window.throttles, self.settings.longest_pause_seconds, self.random)
                window.throttle(self._now(), wait)
            elif result.outcome == Outcome.SUCCEEDED:
                window.throttles = 0
        self._release(result.call)

    def withdraw(self, calls: Iterable[int]) -> dict[str, list[int]]:
        """These calls are cancelled in the ledger. Returns those in flight by endpoint; their slots are freed when the
        workers answer."""
        gone = set(calls)
        self._withdrawn |= gone & self.leases.keys()
        self._withdrawals += 1
        for queue in self.jobs.values():
            for lane in queue.lanes:
                if any(p.call.call in gone for p in lane.buffer):
                    lane.buffer = type(lane.buffer)(p for p in lane.buffer if p.call.call not in gone)
        in_flight: dict[str, list[int]] = {}
        for call in gone & self.leases.keys():
            in_flight.setdefault(self.leases[call].endpoint, []).append(call)
        return in_flight

    async def cancel(self, calls: Iterable[int]) -> None:
        """Withdraw, and tell the workers."""
        for endpoint, ids in self.withdraw(calls).items():
            await self._broker.publish_cancel(Cancel(endpoint=endpoint, calls=ids))

    def of_job(self, job: int, below_lane: int) -> list[int]:
        """The job's calls of the lanes below this one, out or about to go."""
        found = [c for c, le in self.leases.items() if le.prepared.call.job == job and le.lane.index < below_lane]
        queue = self.jobs.get(job)
        if queue is not None:
            found += [p.call.call for lane in queue.lanes[:below_lane] for p in lane.buffer]
        return found

    def carrying(self, job: int, tasks: set[int]) -> list[int]:
        """Calls out or about to go that carry nothing but these tasks."""
        found = [c for c, lease in self.leases.items() if _only(lease.prepared, job, tasks)]
        queue = self.jobs.get(job)
        if queue is not None:
            found += [p.call.call for lane in queue.lanes for p in lane.buffer if _only(p, job, tasks)]
        return found

    def limited_by(self, job: int) -> str | None:
        """What holds the job back now, or None where it is only waiting for answers."""
        queue = self.jobs.get(job)
        if queue is None:
            return None
        waiting = [q for q in queue.lanes if q.buffer or q.stale]
        if not waiting:
            return "Backoff" if queue.due and not queue.in_flight else None
        if queue.full:
            return "Parallelism"
        now = self._now()
        reasons = [self.windows[e].limited_by(now) for q in waiting for e in q.lane.endpoints if e in self.windows]
        return next((r for r in reasons if r), None)

    # What it does

    async def run(self) -> None:
        """Send calls until cancelled."""
        self._checked = self._now()
        while True:
            self._wake.clear()
            sent = 0 if self.paused else await self._pump()
            if not sent and not self._wake.is_set():
                await self._sleep()

    async def _pump(self) -> int:
        """Send what may be sent now. Returns how many."""
        self._expire()
        await self._refill()
        chosen = list(self._choose())
        if chosen:
            await self._send(chosen)
        return len(chosen)

    def _choose(self) -> Iterable[tuple[LaneQueue, Prepared, str]]:
        """Take calls for the free slots: one call a job and turn, so that the jobs share alike."""
        now = self._now()
        progress = True
        while progress:
            progress = False
            for job in list(self._turns):
                choice = self._choose_of(self.jobs[job], now)
                if choice is None:
                    continue
                progress = True
                queue, prepared, endpoint = choice
                self._turns.remove(job)
                self._turns.append(job)  # served: to the end of the line
                self.jobs[job].in_flight += 1
                self.windows[endpoint].in_flight += 1
                yield queue, prepared, endpoint

    def _choose_of(self, job: JobQueue, now: float) -> tuple[LaneQueue, Prepared, str] | None:
        if job.full:
            return None
        for queue in job.turns():
            if queue.buffer:
                endpoint = self._endpoint_for(queue.lane, queue.buffer[0], now)
                if endpoint is not None:
                    job.next_lane = (queue.lane.index + 1) % len(job.lanes)
                    return queue, queue.buffer.popleft(), endpoint
        return None

    def _endpoint_for(self, lane: Lane, prepared: Prepared, now: float) -> str | None:
        """The endpoint whose turn it is, or while that one is throttled the next; None where there is no free slot."""
        for position in lane.turns(prepared.call):
            name = lane.endpoints[position]
            window = self.windows[name]
            if window.free(now) > 0:
                return name
            if now >= window.closed_until:
                return None  # full, not throttled: failover is no overflow
        return None

    async def _send(self, chosen: list[tuple[LaneQueue, Prepared, str]]) -> None:
        leased: list[ledger_calls.Sent] = []
        messages: list[CallMessage] = []
        for queue, prepared, endpoint in chosen:
            call = prepared.call
            first = queue.lane.endpoints[queue.lane.turns(call)[0]]
            why = call.why if endpoint == first else "Failover"
            leased.append(ledger_calls.Sent(call.call, call.tasks, endpoint, why))
            self.leases[call.call] = Lease(prepared, queue.lane, endpoint, self._now() + self.settings.lease_seconds)
            messages.append(self._message(queue.lane, prepared, endpoint))
        async with self._ledger.write() as connection:
            await ledger_calls.lease(connection, leased, self._wall())
        for withdrawn in [m.call for m in messages if m.call in self._withdrawn]:
            self._release(withdrawn)
        messages = [m for m in messages if m.call in self.leases]
        await self._broker.publish_calls(messages)
        for job in {prepared.call.job for _queue, prepared, _endpoint in chosen}:
            self.on_sent(job)

    def _message(self, lane: Lane, prepared: Prepared, endpoint: str) -> CallMessage:
        call = prepared.call
        repair = unpack(call.repair) if call.repair is not None else None
        request = lane.assemble([unpack(r) for r in prepared.requests], self._endpoints[endpoint], repair)
        return CallMessage(
            epoch=self._ledger.epoch,
            call=call.call,
            endpoint=endpoint,
            path=request.path,
            body=request.body,
            expect=request.expect,
            timeout_seconds=lane.timeout_seconds,
            start_by=self._wall() + self.settings.start_by_seconds,
        )

    async def _refill(self) -> None:
        """Read on in the ledger where a buffer runs low."""
        now = self._wall()
        for job in list(self.jobs.values()):
            while job.due and job.due[0] <= now:
                heapq.heappop(job.due)
                for queue in job.lanes:
                    queue.stale = True
            for queue in job.lanes:
                few = len(queue.buffer) <= self.settings.page // 8 and queue.size <= self.settings.page_bytes // 8
                if queue.stale and few:
                    await self._read_on(job, queue, now)

    async def _read_on(self, job: JobQueue, queue: LaneQueue, now: float) -> None:
        queue.stale = False
        empty: list[int] = []
        withdrawals = self._withdrawals
        known = {p.call.call for p in queue.buffer}
        async with self._ledger.read() as connection:
            # Calls that were chosen but whose lease is not committed yet still look ready.
            page = await ledger_calls.ready(connection, job.job, queue.lane.index, now=now, limit=self.settings.page)
            page_is_full = len(page) == self.settings.page
            fresh = [c for c in page if c.call not in self.leases and c.call not in known]
            page, requests = await self._requests(connection, job.job, fresh, queue.size)
            page_is_full = page_is_full or len(page) < len(fresh)
        if withdrawals != self._withdrawals:  # some of what was read may have been cancelled meanwhile
            queue.stale = True
            self._wake.set()
            return
        for call in page:
            open_tasks = [t for t in call.tasks if t in requests]
            if not open_tasks:
                empty.append(call.call)
                continue
            prepared = Prepared(
                call._replace(tasks=open_tasks),
                [requests[t][0] for t in open_tasks],
                sum(requests[t][1] for t in open_tasks),
            )
            queue.buffer.append(prepared)
        queue.stale = queue.stale or page_is_full
        if empty:
            async with self._ledger.write() as connection:
                await ledger_calls.cancel(connection, empty)

    async def _requests(
        self, connection: AsyncConnection, job: int, page: list[Call], size: int
    ) -> tuple[list[Call], dict[int, tuple[bytes, int]]]:
        """As many of these calls as there is memory for, and their tasks' requests; `size` bytes are taken already."""
        requests: dict[int, tuple[bytes, int]] = {}
        read, step = 0, 8  # few at first: a page of large requests must not be read before it is weighed
        while read < len(page) and size <= self.settings.page_bytes:
            wanted = [task for call in page[read : read + step] for task in call.tasks]
            found = await ledger_calls.requests(connection, job, wanted)
            requests |= found
            size += sum(len(request) for request, _weight in found.values())
            read, step = read + step, 2 * step
        return page[:read], requests

    def _forgive_stall(self, now: float) -> None:
        """Where this loop itself stood still, nobody could be heard: that silence counts against no worker."""
        stall = now - self._checked
        self._checked = now
        if stall > self.settings.lease_seconds / 2:  # it looks every quarter of a lease, or more often
            for lease in self.leases.values():
                lease.expires += stall
            for window in self.windows.values():
                for worker in window.workers.values():
                    worker.seen += stall

    def _expire(self) -> None:
        """Take back the calls of silent workers."""
        now = self._now()
        self._forgive_stall(now)
        for window in self.windows.values():
            window.expire_workers(now)
        lost = [call for call, lease in self.leases.items() if lease.expires < now]
        if not lost:
            return
        results = []
        for call in lost:
            lease = self.leases[call]
            log.warning("lease expired", extra={"action": "lease_expired", "call": call, "endpoint": lease.endpoint})
            results.append(
                ResultMessage(
                    epoch=self._ledger.epoch, call=call, endpoint=lease.endpoint, worker="", outcome=Outcome.LOST,
                    error=f"no word from the worker for {self.settings.lease_seconds:g} s",
                )
            )  # fmt: skip
            self._release(call)
        self.on_lost(results)

    def _release(self, call: int) -> None:
        lease = self.leases.pop(call, None)
        self._withdrawn.discard(call)
        if lease is None:
            return
        self.windows[lease.endpoint].in_flight -= 1
        if (job := self.jobs.get(lease.prepared.call.job)) is not None:
            job.in_flight -= 1
        self._wake.set()

    async def _sleep(self) -> None:
        """Until woken, or until something is due by itself."""
        now, wall = self._now(), self._wall()
        times = [w.closed_until - now for w in self.windows.values() if w.closed_until > now]
        times += [job.due[0] - wall for job in self.jobs.values() if job.due]
        times += [self.settings.lease_seconds / 4]
        try:
            async with asyncio.timeout(max(0.001, min(times))):
                await self._wake.wait()
        except TimeoutError:
            pass

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _only(prepared: Prepared, job: int, tasks: set[int]) -> bool:
    return prepared.call.job == job and all(t in tasks for t in prepared.call.tasks)
