"""One job's run: plan, answer, reduce, end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.api.endpoint import ModelEndpointSpec
from fanout.api.job import FanOutJobSpec
from fanout.api.status import Reason
from fanout.broker.messages import Cancel
from fanout.broker.port import Broker
from fanout.dispatch.dispatcher import Dispatcher
from fanout.dispatch.lane import Lane
from fanout.dispatch.queue import JobQueue, LaneQueue
from fanout.engine import completion
from fanout.engine.progress import Progress
from fanout.fanin.aggregator import Aggregator, Batch, JobView
from fanout.fanin.chunks import settle_chunks_of
from fanout.fanin.combine.build import build_combine
from fanout.fanin.output.results import write_results
from fanout.fanin.reading import ResultReader
from fanout.fanin.reduce.build import build_reduce, output_name
from fanout.fanin.reduce.concat import Render
from fanout.fanin.reduce.port import ReduceFailedError
from fanout.ledger import calls, jobs, settle
from fanout.ledger.jobs import Ending, JobRecord
from fanout.ledger.schema import Settled, Stage
from fanout.ledger.settle import Task
from fanout.ledger.store import Ledger
from fanout.planning.frames import FromParser
from fanout.planning.planner import InputChangedError, InputFailedError, Planned, Planner

log = logging.getLogger(__name__)

Frames = Callable[[], AsyncIterator[FromParser]]
"""Starts the parser on the job's input."""


class ConservationError(Exception):
    """Chunks are missing or there twice: a fault of Fanout's own, which must not pass for a result."""


class JobRun:
    """Carries one job from wherever the ledger has it to its end."""

    def __init__(
        self,
        record: JobRecord,
        spec: FanOutJobSpec,
        endpoints: Mapping[str, ModelEndpointSpec],
        lanes: Sequence[Lane],
        folder: Path,
        *,
        ledger: Ledger,
        broker: Broker,
        dispatcher: Dispatcher,
        aggregator: Aggregator,
        render: Render,
        frames: Frames,
    ) -> None:
        self.record = record
        self.spec = spec
        self.folder = folder
        self.progress = Progress()
        self.reducing = False
        self.interrupted = False
        self.ended_earlier = False
        """An earlier run has finished this job: there was nothing to do."""
        self.combine = build_combine(spec)
        self.reader = ResultReader(ledger, record.job, spec.map.branches)
        self._endpoints = endpoints
        self._lanes = lanes
        self._ledger = ledger
        self._broker = broker
        self._dispatcher = dispatcher
        self._aggregator = aggregator
        self._frames = frames
        self._step = build_reduce(
            spec,
            record,
            ledger,
            self.reader,
            self.combine,
            endpoints,
            render=render,
            on_calls=lambda lane: dispatcher.ready(record.job, [lane]),
        )
        self._stop: Ending | None = record.stop
        self._input_error: Ending | None = None
        self._settled_chunks: list[int] = []
        self._settled_nodes: list[int] = []
        self._planned_states: dict[int, Settled] = {}
        self._planning: asyncio.Task[None] | None = None
        self._reduce_failed: Ending | None = None
        self._wake = asyncio.Event()

    @property
    def stop(self) -> Ending | None:
        """Why the job stops early, if it does."""
        return self._stop

    @property
    def output(self) -> Path | None:
        """Where the output is written; None for a pure fan-out."""
        name = output_name(self.spec)
        return self.folder / name if name else None

    @property
    def currency(self) -> str | None:
        """Of the job's cost; None where one of its endpoints has no price."""
        pricing = [spec.pricing for spec in self._endpoints.values()]
        found = {p.currency for p in pricing if p is not None}
        return found.pop() if len(found) == 1 and all(pricing) else None

    def limited_by(self) -> str | None:
        """What holds the job back now."""
        limited = self._dispatcher.limited_by(self.record.job)
        # All that is planned is out, and there are slots for more.
        planning = not self.progress.planning_done and self._stop is None and not self.interrupted
        return "Planning" if limited is None and planning else limited

    def stop_planning(self) -> None:
        """Plan no further; what is planned stays."""
        if self._planning is not None:
            self._planning.cancel()

    def interrupt(self) -> None:
        """End without an ending: what is committed stays, and a later run goes on."""
        self.interrupted = True
        self._wake.set()

    async def run(self) -> Ending | None:
        """The job's ending; None if it was interrupted. Input errors end a run, but not the job: a later run goes on."""
        self.progress = await Progress.restore(self._ledger, self.record)
        if self.record.ending is not None:
            self.ended_earlier = True
            return self.record.ending
        await self._enlist()
        try:
            if not self.record.planned and self._stop is None:
                self._planning = asyncio.create_task(self._plan())
            try:
                failed = await self._until_answered()
            finally:
                await self._stop_planning()
            if self._input_error is not None:
                await self._await_calls_out()
            if self.interrupted or self._input_error is not None:
                await write_results(self.folder, self.reader, self.combine)
                return self._input_error
            return await self._end(failed)
        finally:
            self._dispatcher.remove_job(self.record.job)
            self._aggregator.remove_job(self.record.job)

    # On the way

    async def _stop_planning(self) -> None:
        if self._planning is not None:
            self._planning.cancel()
            await asyncio.wait([self._planning])  # which, unlike awaiting it, tells its cancellation from our own
            with contextlib.suppress(asyncio.CancelledError):
                self._planning.result()
            self._planning = None

    async def _await_calls_out(self) -> None:
        """Send nothing more, and take the answers that are due: they are paid for. An interruption ends the wait."""
        self._dispatcher.remove_job(self.record.job)
        while not self.interrupted and self._dispatcher.of_job(self.record.job, len(self._lanes)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await self._aggregator.settle()

    async def _enlist(self) -> None:
        job = self.record.job
        view = JobView(job, self._lanes, self.combine, self.spec.answers_per_chunk, self._take)
        self._aggregator.add_job(view, {name: spec.pricing for name, spec in self._endpoints.items()})
        if self._step is not None:
            try:
                await self._step.start()
            except ReduceFailedError as error:
                self._reduce_failed = Ending(Reason.REDUCE_FAILED, str(error))
        parallelism = self.spec.map.parallelism
        queue = JobQueue(job, self.record.name, [LaneQueue(lane) for lane in self._lanes], parallelism)
        async with self._ledger.read() as connection:
            due = await calls.due(connection, job)
        self._dispatcher.add_job(queue)
        self._dispatcher.ready(job, range(len(self._lanes)), due)

    async def _plan(self) -> None:
        planner = Planner(self._ledger, self.record, self.spec, self._settle_planned)
        frames = self._frames()
        try:
            await planner.plan(frames, self._take_planned)
        except (InputChangedError, InputFailedError) as error:
            self._input_error = Ending(Reason.INPUT_FAILED, str(error))
        except Exception as error:
            log.exception("planning failed", extra={"action": "planning_failed", "job": self.record.name})
            self._input_error = Ending(Reason.INPUT_FAILED, f"planning failed: {error!r}")
        else:
            self.progress.planning_done = True
        finally:
            await frames.aclose()  # type: ignore[attr-defined]
            self._wake.set()

    async def _settle_planned(self, connection: AsyncConnection, job: int, tasks: Sequence[Task]) -> list[int]:
        map_tasks = [task for task in tasks if task.stage == Stage.MAP]
        done = await settle_chunks_of(connection, job, map_tasks, self.combine, self.spec.answers_per_chunk)
        self._planned_states |= done.states
        return list(done.states)

    def _take_planned(self, planned: Planned) -> None:
        self.progress.plan(planned.chunks, planned.failed, planned.deduplicated)
        states, self._planned_states = self._planned_states, {}
        self.progress.take(Batch(chunks=states))
        self._settled_chunks += planned.settled
        self._dispatcher.ready(self.record.job, planned.lanes)
        self._wake.set()

    def _take(self, batch: Batch) -> None:
        self.progress.take(batch)
        self._settled_chunks += batch.chunks
        self._settled_nodes += batch.nodes
        self._wake.set()

    def sent(self) -> None:
        """The dispatcher sent calls of this job."""
        if self.progress.first_sent is None:
            self.progress.first_sent = asyncio.get_running_loop().time()
            self._wake.set()  # partialAfter's clock runs from now

    async def _until_answered(self) -> Ending | None:
        """Wait until every chunk and node is settled. Returns why the reduce step failed, if it did."""
        if self._reduce_failed is not None:
            return await self._fail(self._reduce_failed)
        while not self.interrupted and self._input_error is None:
            self._wake.clear()
            if self._stop is None:
                await self._stop_if_due()
            if self._chunks_settled() and not self._will_reduce():
                return None
            try:
                await self._advance()
            except ReduceFailedError as error:
                return await self._fail(Ending(Reason.REDUCE_FAILED, str(error)))
            if self._chunks_settled() and self._step is not None and self._step.done:
                return None
            await self._sleep()
        return None

    async def _fail(self, failed: Ending) -> Ending:
        """There will be no output: chunks that are still open are given up before more is spent on them."""
        if not self._chunks_settled():
            await self._give_up(failed)
        return failed

    def _chunks_settled(self) -> bool:
        """Whether every chunk that will ever be planned has its outcome."""
        settled = (self.progress.planning_done or self._stop is not None) and not self.progress.states[Settled.OPEN]
        self.reducing = settled
        return settled

    def _will_reduce(self) -> bool:
        """Whether there is a step, and the ending, as far as chunks decide it, has an output."""
        if self._step is None or not self.progress.states[Settled.SUCCEEDED]:
            return False
        return completion.final(self.spec.completion, self.progress.counts, self._stop).reason in completion.COMPLETE

    async def _advance(self) -> None:
        chunks, self._settled_chunks = self._settled_chunks, []
        nodes, self._settled_nodes = self._settled_nodes, []
        if self._step is not None:
            final = self.progress.planning_done or self._stop is not None
            await self._step.advance(chunks, nodes, self.progress.planned if final else None)

    async def _stop_if_due(self) -> None:
        progress = self.progress
        if progress.planning_done and not progress.states[Settled.OPEN]:
            return  # everything has its answer: nothing to stop
        stop = completion.early_stop(
            self.spec.completion, progress.counts, progress.elapsed, planned=progress.planning_done
        )
        if stop is not None:
            await self._give_up(stop)

    async def _give_up(self, stop: Ending) -> None:
        """Skip every chunk that is open, and call back the calls that are out."""
        await self._stop_planning()
        job, maps = self.record.job, len(self.spec.map.branches)
        self._stop = stop
        async with self._ledger.write() as connection:
            in_flight = await calls.cancel_all(connection, job, below_lane=maps)
            await settle.skip_open(connection, job, Stage.MAP)
            await jobs.set_stop(connection, job, stop)
            states = await settle.chunk_states(connection, job)
            skipped = await settle.skipped_chunks(connection, job) if self._step is not None else []
        await self._call_back(in_flight, maps)
        self.progress.states.clear()
        self.progress.states.update(states)
        self.progress.planned = sum(states.values())
        self._settled_chunks += skipped

    async def _call_back(self, in_flight: Sequence[tuple[int, str | None]], below_lane: int) -> None:
        """Calls that were cancelled in the ledger: send none of them any more, and tell the workers of those that are out."""
        self._dispatcher.withdraw(self._dispatcher.of_job(self.record.job, below_lane))
        by_endpoint: dict[str, list[int]] = {}
        for call, endpoint in in_flight:
            by_endpoint.setdefault(endpoint or "", []).append(call)
        for endpoint, ids in by_endpoint.items():
            await self._broker.publish_cancel(Cancel(endpoint=endpoint, calls=ids))

    async def _sleep(self) -> None:
        # With all chunks settled there is nothing left that time could stop.
        timeless = self._stop is not None or self.reducing
        wait = None if timeless else completion.next_check(self.spec.completion, self.progress.elapsed)
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            pass

    # At the end

    async def _end(self, failed: Ending | None) -> Ending:
        await self._check_conservation()
        ending = failed or completion.final(self.spec.completion, self.progress.counts, self._stop)
        self.folder.mkdir(parents=True, exist_ok=True)
        await write_results(self.folder, self.reader, self.combine, self._stop)
        if ending.reason in completion.COMPLETE and self.output is not None and self._step is not None:
            try:
                await self._step.write(self.output)
            except ReduceFailedError as error:
                ending = Ending(Reason.REDUCE_FAILED, str(error))
        async with self._ledger.write() as connection:
            # A job that fails may have calls of its reduce step out.
            in_flight = await calls.cancel_all(connection, self.record.job, below_lane=len(self._lanes))
            self.record.finished_at = await jobs.finish(connection, self.record.job, ending)
        await self._call_back(in_flight, len(self._lanes))
        self.record.ending = ending
        return ending

    async def _check_conservation(self) -> None:
        """planned = succeeded + failed + skipped, by the ledger's own count."""
        async with self._ledger.read() as connection:
            states = await settle.chunk_states(connection, self.record.job)
        if states.get(Settled.OPEN) or sum(states.values()) != self.progress.planned:
            raise ConservationError(
                f"job {self.record.name}: {self.progress.planned} chunks were planned, the ledger has "
                f"{ {state.name.lower(): count for state, count in states.items()} }: please report this"
            )
