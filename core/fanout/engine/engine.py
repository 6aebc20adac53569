"""What jobs share: the ledger, the broker, one dispatcher, one aggregator, one template renderer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.api.endpoint import ModelEndpointSpec
from fanout.api.job import FanOutJob, FanOutJobSpec
from fanout.broker.port import Broker
from fanout.dispatch.dispatcher import Dispatcher, Settings
from fanout.engine.job_run import Frames, JobRun
from fanout.engine.lanes import build_lanes, endpoints_of, synthesis
from fanout.fanin.aggregator import Aggregator
from fanout.ledger import calls, jobs, plan, settle
from fanout.ledger.calls import Call
from fanout.ledger.jobs import JobRecord
from fanout.ledger.retry import reopen_failed
from fanout.ledger.schema import CallState
from fanout.ledger.store import Ledger
from fanout.planning.frames import Problem
from fanout.planning.renderer import Renderer


class JobChangedError(Exception):
    """The ledger has a job of this name whose plan was made from another spec."""


class TemplateFailedError(Exception):
    """A template that is rendered once per job fails."""


class Engine:
    """Runs jobs. Use as `async with Engine.running(ledger, broker) as engine`."""

    def __init__(
        self, ledger: Ledger, broker: Broker, *, settings: Settings | None = None, random: Random | None = None
    ) -> None:
        self.ledger = ledger
        self.broker = broker
        self.dispatcher = Dispatcher(ledger, broker, settings=settings, random=random)
        self.aggregator = Aggregator(ledger, broker, self.dispatcher, random=random)
        self.renderer = Renderer()
        self._runs: dict[int, JobRun] = {}
        self.dispatcher.on_sent = lambda job: self._runs[job].sent() if job in self._runs else None

    @classmethod
    @asynccontextmanager
    async def running(
        cls, ledger: Ledger, broker: Broker, *, settings: Settings | None = None, random: Random | None = None
    ) -> AsyncIterator[Engine]:
        """An engine whose loops run; a fault in one of them ends the block with its exception."""
        engine = cls(ledger, broker, settings=settings, random=random)
        try:
            async with asyncio.TaskGroup() as group:
                loops = [group.create_task(engine.aggregator.run()), group.create_task(engine.dispatcher.run())]
                yield engine
                for loop in loops:
                    loop.cancel()
        finally:
            await engine.renderer.aclose()

    async def submit(
        self,
        job: FanOutJob,
        endpoints: Mapping[str, ModelEndpointSpec],
        folder: Path,
        frames: Frames,
        *,
        retry_failed: bool = False,
    ) -> JobRun:
        """The run of a job, new or resumed. `retry_failed`: what failed in a finished one runs again. Raises JobChangedError."""
        record = await self._record(job)
        if retry_failed and record.ending is not None:
            async with self.ledger.write() as connection:
                await reopen_failed(connection, self.ledger, record.job)
            record.ending = record.stop = record.finished_at = None
        await self._take_over(record)
        used = {name: endpoints[name] for name in endpoints_of(job.spec)}
        for name, spec in used.items():
            self.dispatcher.add_endpoint(name, spec)
        run = JobRun(
            record,
            job.spec,
            used,
            build_lanes(job.spec, record.systems, await self._step_system(job.spec)),
            folder,
            ledger=self.ledger,
            broker=self.broker,
            dispatcher=self.dispatcher,
            aggregator=self.aggregator,
            render=self.renderer.render,
            frames=frames,
        )
        self._runs[record.job] = run
        return run

    async def has_planned(self, job: FanOutJob) -> bool:
        """Whether the ledger has this job with all of its input planned: nothing will be read any more."""
        async with self.ledger.read() as connection:
            record = await jobs.find(connection, _uid(job))
        return record is not None and record.planned

    async def _record(self, job: FanOutJob) -> JobRecord:
        uid = _uid(job)
        spec = job.spec.model_dump(mode="json", exclude_none=True)
        async with self.ledger.write() as connection:
            record = await jobs.find(connection, uid)
            if record is None:
                return await self._create(connection, job)
            before = FanOutJobSpec.model_validate(json.loads(record.spec)).model_dump(mode="json", exclude_none=True)
            difference = first_difference(_planned_part(before), _planned_part(spec), "spec")
            if difference is None:
                await jobs.set_spec(connection, record.job, json.dumps(spec))
                return record
            if await plan.next_chunk(connection, record.job):
                raise JobChangedError(
                    f"job {job.name} was begun with another manifest ({difference} differs), and what is planned stays "
                    "planned: restore it to go on, or choose another folder"
                )
            # Nothing was planned: its input could not be read, and now the manifest is corrected.
            await jobs.forget(connection, record.job)
            return await self._create(connection, job)

    async def _create(self, connection: AsyncConnection, job: FanOutJob) -> JobRecord:
        return await jobs.create(
            connection,
            uid=_uid(job),
            namespace=job.metadata.namespace,
            name=job.name,
            spec=json.dumps(job.spec.model_dump(mode="json", exclude_none=True)),
            systems=await self._branch_systems(job.spec),
        )

    async def _take_over(self, record: JobRecord) -> None:
        """Calls that were out when an earlier process ended are made again: nobody will hear their answers."""
        if record.ending is not None:
            return
        async with self.ledger.write() as connection:
            out = await calls.leased(connection, record.job)
            tasks = await settle.get(connection, record.job, [task for call in out for task in call.tasks])
            await calls.set_lost(connection, [(c.call, sum(tasks[t].weight for t in c.tasks)) for c in out])
            await calls.insert_again(connection, [self._again(call) for call in out])

    def _again(self, call: Call) -> Call:
        return call._replace(
            call=self.ledger.new_call(), state=CallState.READY, not_before=0.0, previous=call.call, why="Redone"
        )

    async def _branch_systems(self, spec: FanOutJobSpec) -> list[str]:
        """The branches' system messages, rendered once: they are the same for every chunk."""
        systems = []
        for i, branch in enumerate(spec.map.branches):
            source = branch.chat.system if branch.chat is not None else None
            known: dict[str, object] = {"branch": {"name": branch.name}, "params": spec.params}
            systems.append(await self._render_one(source, known, f"spec.map.branches[{i}].chat.system"))
        return systems

    async def _step_system(self, spec: FanOutJobSpec) -> str:
        step = synthesis(spec)
        path = "spec.reduce.steps[0].synthesize.system"
        return await self._render_one(step.system if step is not None else None, {"params": spec.params}, path)

    async def _render_one(self, source: str | None, context: dict[str, object], path: str) -> str:
        if not source:
            return ""
        (text,) = await self.renderer.render(source, [context])
        if isinstance(text, Problem):
            raise TemplateFailedError(f"{path}: {text.message}")
        return text


def _uid(job: FanOutJob) -> str:
    return job.metadata.uid or f"{job.metadata.namespace}/{job.metadata.name}"


def _planned_part(spec: dict[str, object]) -> dict[str, object]:
    """What must not change once a job has begun: all but parallelism and completion."""
    part = {name: value for name, value in spec.items() if name != "completion"}
    assert isinstance(part["map"], dict)
    return part | {"map": {name: value for name, value in part["map"].items() if name != "parallelism"}}


def first_difference(before: object, after: object, path: str) -> str | None:
    """The path of the first place where two JSON values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            found = first_difference(before.get(name), after.get(name), f"{path}.{name}")
            if found:
                return found
        return None
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return next((f for i, (b, a) in pairs if (f := first_difference(b, a, f"{path}[{i}]"))), None)
    return None if before == after else path
