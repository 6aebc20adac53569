"""Jobs in this process: the engine, the in-memory broker, the ledger in a folder, and the workers' executors."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fanout.api.endpoint import ModelEndpointSpec
from fanout.api.job import FanOutJob
from fanout.broker.memory import MemoryBroker
from fanout.engine.engine import Engine
from fanout.engine.job_run import JobRun
from fanout.engine.lanes import endpoints_of
from fanout.engine.parse_job import parse_job
from fanout.engine.report import report_of
from fanout.fanin.output.files import replacing
from fanout.ledger.jobs import Ending
from fanout.ledger.store import Ledger
from fanout.planning.frames import FromParser
from fanout.planning.parser import parse
from fanout.planning.source import Source, open_source
from fanout_worker.clients.build import build_client
from fanout_worker.clients.credential import Credential
from fanout_worker.executor import Executor

LEDGER = "ledger.db"
# How long an interrupted run waits for the calls that are out: they are paid for.
INTERRUPT_GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class LocalJob:
    """A job to run here."""

    job: FanOutJob
    base: Path
    """The manifest's folder: where relative file:// paths begin."""
    folder: Path
    """Where its files go."""


@dataclass(frozen=True)
class LocalResult:
    """A job's end, or its interruption."""

    run: JobRun
    ending: Ending | None
    report: dict[str, Any]


class LocalRun:
    """Runs jobs in this process. `runs` shows their progress meanwhile."""

    def __init__(
        self,
        jobs: Sequence[LocalJob],
        endpoints: Mapping[str, ModelEndpointSpec],
        credentials: Mapping[str, Credential],
        out: Path,
        *,
        retry_failed: bool = False,
    ) -> None:
        self.runs: list[JobRun] = []
        self._jobs = jobs
        self._endpoints = endpoints
        self._credentials = credentials
        self._out = out
        self._retry_failed = retry_failed
        self._interrupted = asyncio.Event()
        self._hurried = asyncio.Event()

    def interrupt(self) -> bool:
        """Send nothing more and wait for the answers that are due; called again, do not wait. Returns whether it waits."""
        if self._interrupted.is_set():
            self._hurried.set()
        self._interrupted.set()
        return not self._hurried.is_set()

    async def execute(self, started: Callable[[], None] = lambda: None) -> list[LocalResult]:
        """Run all jobs to their ends. Raises LedgerInUseError, JobChangedError and SourceError before anything is sent."""
        if not (self._out / LEDGER).exists():
            self._check_inputs(self._jobs)  # before there is a folder with nothing in it
        self._out.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            ledger = await Ledger.open(self._out / LEDGER)
            stack.push_async_callback(ledger.close)
            broker = MemoryBroker()
            engine = await stack.enter_async_context(Engine.running(ledger, broker))
            # What is planned does not need its input any more.
            self._check_inputs([local for local in self._jobs if not await engine.has_planned(local.job)])
            for local in self._jobs:
                local.folder.mkdir(parents=True, exist_ok=True)
                run = await engine.submit(
                    local.job, self._endpoints, local.folder, _frames(local), retry_failed=self._retry_failed
                )
                self.runs.append(run)
            started()
            executors = await self._start_workers(stack, broker)
            watching = asyncio.create_task(self._watch_interrupt(engine))
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(run.run()) for run in self.runs]
                endings = [task.result() for task in tasks]
            finally:
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching
                await asyncio.gather(*(executor.stop() for executor in executors))
            return [await self._result(run, ending, ledger) for run, ending in zip(self.runs, endings, strict=True)]

    @staticmethod
    def _check_inputs(jobs: Sequence[LocalJob]) -> None:
        for local in jobs:
            _source(local)

    async def _start_workers(self, stack: AsyncExitStack, broker: MemoryBroker) -> list[Executor]:
        used = dict.fromkeys(name for local in self._jobs for name in endpoints_of(local.job.spec))
        executors = []
        for name in used:
            spec = self._endpoints[name]
            client = build_client(spec, self._credentials.get(name))
            stack.push_async_callback(client.close)
            workers = -(-spec.limits.concurrency // spec.prefetch)
            for number in range(workers):
                executor = Executor(broker, name, client, spec.prefetch, f"{name}-{number}")
                await executor.start()
                executors.append(executor)
        return executors

    async def _watch_interrupt(self, engine: Engine) -> None:
        await self._interrupted.wait()
        engine.dispatcher.paused = True
        for run in self.runs:
            run.stop_planning()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(INTERRUPT_GRACE_SECONDS):
                while engine.dispatcher.leases and not self._hurried.is_set():  # noqa: ASYNC110 - two conditions
                    await asyncio.sleep(0.05)
        await engine.aggregator.settle()
        for run in self.runs:
            run.interrupt()

    @staticmethod
    async def _result(run: JobRun, ending: Ending | None, ledger: Ledger) -> LocalResult:
        path = run.folder / "report.json"
        if run.ended_earlier and path.exists():
            return LocalResult(run, ending, json.loads(path.read_bytes()))
        report = await report_of(run, ledger, ending)
        with replacing(path) as file:
            file.write(json.dumps(report, indent=2, ensure_ascii=False).encode() + b"\n")
        return LocalResult(run, ending, report)


def _source(local: LocalJob) -> Source:
    given = local.job.spec.input
    return open_source(given.uri or given.items or [], local.base)


def _frames(local: LocalJob) -> Callable[[], AsyncIterator[FromParser]]:
    return lambda: parse(parse_job(local.job.spec), _source(local))
