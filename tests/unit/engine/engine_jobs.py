"""Jobs for the tests of the engine: planned from frames made by hand, answered by fake workers."""

import asyncio
import json
from contextlib import asynccontextmanager
from hashlib import blake2b
from random import Random

from fake_worker import FakeWorker

from fanout.api.endpoint import ModelEndpointSpec
from fanout.api.job import FanOutJob
from fanout.broker.memory import MemoryBroker
from fanout.dispatch.dispatcher import Settings
from fanout.engine.engine import Engine
from fanout.ledger.blobs import pack
from fanout.ledger.store import Ledger
from fanout.planning.frames import Chunk, Finished, Item, Items, Problem, Request, Started

# Leases long enough to be no part of a test that is not about them.
CALM = Settings(lease_seconds=5.0, start_by_seconds=4.0)
HASTY = Settings(lease_seconds=0.15, start_by_seconds=0.1)
SECONDS_AT_MOST = 20


class Quick(Random):
    """Waits of a few milliseconds in place of seconds."""

    def uniform(self, a, b):
        return super().uniform(a, min(b, 0.01))


class InProcessRenderer:
    """Renders {{ parts }} and {{ level }} without a child process."""

    async def render(self, source, contexts):
        texts = []
        for context in contexts:
            if "{{ fail }}" in source:
                texts.append(Problem(reason="TemplateFailed", message="'fail' is undefined"))
            else:
                parts = "+".join(context.get("parts", ()))
                texts.append(source.replace("{{ parts }}", parts).replace("{{ level }}", str(context.get("level"))))
        return texts

    async def aclose(self):
        pass


def make_job(name="job", *, branch=None, branches=None, **spec):
    """A job with one chat branch on endpoint small, changed as `branch` says."""
    one = {"name": "plain", "endpoints": ["small"], "chat": {"prompt": "{{ chunk.text }}"}} | (branch or {})
    spec["map"] = {"branches": branches or [one]} | spec.get("map", {})
    return FanOutJob.model_validate({"metadata": {"name": name}, "spec": {"input": {"items": ["by hand"]}, **spec}})


def endpoint(concurrency=4, **fields):
    return ModelEndpointSpec.model_validate({"api": "Simulated", "limits": {"concurrency": concurrency}, **fields})


def make_item(position, text, branches=1):
    """An item of one chunk, whose request is its text in each branch."""
    body = json.dumps(text).encode()
    requests = [
        Request(body=body, tokens=max(1, len(text)), digest=blake2b(body + b"%d" % b, digest_size=16).digest())
        for b in range(branches)
    ]
    chunk = Chunk(index=0, title="", text=pack(text.encode()), tokens=1, requests=requests)
    digest = blake2b(body, digest_size=16).digest()
    return Item(position=position, id=str(position), name="", fields=b"", where="", digest=digest, chunks=[chunk])


def frames_of(texts, *, branches=1, per_frame=10, between=None):
    """What the parser would make of these texts; `between(frame)` is awaited before each frame but the first."""

    async def frames():
        yield Started(systems=[""] * branches)
        items = [make_item(i, text, branches) for i, text in enumerate(texts)]
        for start in range(0, len(items), per_frame):
            if between is not None and start:
                await between(start // per_frame)
            yield Items(items=items[start : start + per_frame])
        yield Finished(items=len(items))

    return frames


class Bench:
    """An engine with its ledger and broker, in a folder."""

    def __init__(self, engine, folder):
        self.engine, self.ledger, self.broker, self.folder = engine, engine.ledger, engine.broker, folder

    def worker(self, *args, **options):
        return FakeWorker(self.broker, *args, **options)

    async def submit(self, job, texts, endpoints=None, **options):
        branches = len(job.spec.map.branches)
        frames = texts if callable(texts) else frames_of(texts, branches=branches, **options)
        folder = self.folder / job.name
        folder.mkdir(exist_ok=True)
        return await self.engine.submit(job, endpoints or {"small": endpoint(), "backup": endpoint()}, folder, frames)

    async def run(self, job, texts, endpoints=None, **options):
        """Run a job to its end. Gives the run, with its ending."""
        run = await self.submit(job, texts, endpoints, **options)
        await finish(run)
        return run


async def finish(run):
    async with asyncio.timeout(SECONDS_AT_MOST):
        return await run.run()


@asynccontextmanager
async def bench(folder, settings=CALM, where=None):
    """An engine at work in `folder`, with its ledger there or in a database; what was begun there goes on."""
    ledger = await Ledger.open(where or folder / "ledger.db")
    try:
        async with Engine.running(ledger, MemoryBroker(), settings=settings, random=Quick(7)) as engine:
            engine.renderer = InProcessRenderer()
            yield Bench(engine, folder)
    finally:
        await ledger.close()


def lines(run, name="results.jsonl"):
    """The lines of a results file."""
    return [json.loads(line) for line in (run.folder / name).read_text().splitlines()]


def values(run):
    return [line["value"] for line in lines(run)]


async def until(condition):
    """Wait until `condition()` holds."""
    async with asyncio.timeout(SECONDS_AT_MOST):
        while not condition():
            await asyncio.sleep(0.001)


def let_pass(run, seconds):
    """As if the job had begun so much earlier."""
    run.progress.began -= seconds
    run._wake.set()  # its own timer does not know
