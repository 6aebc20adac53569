"""A job that ends in a synthesis, with a fake worker: the tree's calls, its failures, and a restart in its midst."""

import asyncio

from engine_jobs import bench, endpoint, finish, lines, make_job, until
from fake_worker import prompt_of, result
from test_job_resume import run_until

from fanout.broker.messages import Answer
from fanout.broker.outcome import Outcome
from fanout.ledger import settle
from fanout.ledger.schema import Settled

CHUNKS = [f"c{i:02}" for i in range(19)]


def make_synthesis(name="job", *, prompt="Merge: {{ parts }}", step=None, **spec):
    synthesize = {"endpoints": ["small"], "prompt": prompt, "maxPartsPerCall": 5} | (step or {})
    return make_job(name, reduce={"steps": [{"synthesize": synthesize}]}, **spec)


def merges(worker):
    """Prompts of the synthesis's calls."""
    return [prompt_of(message) for message in worker.asked if prompt_of(message).startswith("Merge")]


def output(run):
    return run.output.read_text()


class Merger:
    """Answers chunks in capitals, and a merge with a short name that tells how many parts it had."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.gate.set()
        self.merged = 0
        self.let_through = 10**9

    async def __call__(self, message):
        await asyncio.sleep(0.001)
        if not prompt_of(message).startswith("Merge"):
            return result(message)
        self.merged += 1
        if self.merged > self.let_through:
            await asyncio.Event().wait()
        return result(message)


async def test_19_chunks_in_fives_take_four_calls_and_one(tmp_path):
    async with bench(tmp_path) as b, b.worker(answer=Merger()) as worker:
        run = await b.run(make_synthesis(), CHUNKS)
    assert run.record.ending.reason == "Succeeded"
    leaves = ["Merge: " + "+".join(chunk.upper() for chunk in CHUNKS[i : i + 5]) for i in range(0, 19, 5)]
    assert sorted(merges(worker)[:4]) == leaves
    assert merges(worker)[4:] == ["Merge: " + "+".join(leaf.upper() for leaf in leaves)]
    assert output(run) == merges(worker)[-1].upper() + "\n"


async def test_a_single_chunk_is_synthesized_too(tmp_path):
    async with bench(tmp_path) as b, b.worker(answer=Merger()) as worker:
        run = await b.run(make_synthesis(), ["only"])
    assert merges(worker) == ["Merge: ONLY"]
    assert output(run) == "MERGE: ONLY\n"


async def test_a_part_that_is_alone_in_its_group_is_passed_on(tmp_path):
    async with bench(tmp_path) as b, b.worker(answer=Merger()) as worker:
        await b.run(make_synthesis(), CHUNKS[:6])
    assert len(merges(worker)) == 2
    assert merges(worker)[-1] == "Merge: MERGE: C00+C01+C02+C03+C04+C05"


async def test_chunks_that_failed_are_left_out(tmp_path):
    class Picky(Merger):
        async def __call__(self, message):
            if prompt_of(message) in CHUNKS[:7]:
                return result(message, Outcome.BAD_REQUEST)
            return await super().__call__(message)

    job = make_synthesis(completion={"minSuccessPercent": 50})
    async with bench(tmp_path) as b, b.worker(answer=Picky()) as worker:
        run = await b.run(job, CHUNKS)
    assert run.record.ending.reason == "Succeeded"
    assert min(merges(worker)[:3]) == "Merge: C07+C08+C09"
    assert len(merges(worker)) == 4


async def test_it_starts_while_others_are_still_being_answered(tmp_path):
    gate = asyncio.Event()

    class LastIsSlow(Merger):
        async def __call__(self, message):
            if prompt_of(message) == CHUNKS[-1]:
                await gate.wait()
            return await super().__call__(message)

    async with bench(tmp_path) as b, b.worker(answer=LastIsSlow()) as worker:
        run = await b.submit(make_synthesis(), CHUNKS)
        running = asyncio.create_task(finish(run))
        await until(lambda: len(merges(worker)) == 3)
        gate.set()
        await running
    assert len(merges(worker)) == 5


async def test_parts_that_do_not_fit_together_take_more_calls(tmp_path):
    # 256 tokens of context, less prompt and answer, leave room for about 95: two parts of 40 tokens.
    class Short(Merger):
        async def __call__(self, message):
            if prompt_of(message).startswith("Merge"):
                return result(message, answers=[Answer(value=b'"ssssssss"')])
            return await super().__call__(message)

    job = make_synthesis(step={"parameters": {"max_tokens": 128}})
    endpoints = {"small": endpoint(limits={"concurrency": 4, "contextTokens": 256})}
    async with bench(tmp_path) as b, b.worker(answer=Short()) as worker:
        run = await b.run(job, [str(i) * 160 for i in range(5)], endpoints)
    assert run.record.ending.reason == "Succeeded"
    assert all(len(prompt) < 4 * 128 for prompt in merges(worker))
    assert len(merges(worker)) == 4  # 2 + 2 + 1, and the three of them
    assert output(run) == "ssssssss\n"


async def test_a_restart_in_the_midst_of_the_tree_repays_no_node(tmp_path):
    for let_through in (1, 3, 4):
        folder = tmp_path / str(let_through)
        folder.mkdir()
        merger = Merger()
        merger.let_through = let_through

        def answered(run, worker, goal=let_through):
            return run.progress.settled == 19 and len(merges(worker)) - len(worker.held) == goal and _idle(run)

        before = await run_until(folder, make_synthesis(), CHUNKS, answered, merger)
        async with bench(folder) as b, b.worker(answer=Merger()) as worker:
            run = await b.run(make_synthesis(), CHUNKS)
        first = [prompt_of(message) for message in before if prompt_of(message).startswith("Merge")]
        assert len(first) <= 5
        assert len(merges(worker)) == 5 - let_through
        assert len(set(first) | set(merges(worker))) == 5
        assert not [message for message in worker.asked if not prompt_of(message).startswith("Merge")]
        assert run.record.ending.reason == "Succeeded"


def _idle(run):
    return not run._aggregator._arrived and run._aggregator._idle.is_set()


async def test_without_any_success_nothing_is_synthesized(tmp_path):
    async def refuse(message):
        return result(message, Outcome.BAD_REQUEST)

    async with bench(tmp_path) as b, b.worker(answer=refuse) as worker:
        run = await b.run(make_synthesis(), CHUNKS)
    assert run.record.ending.reason == "NoSuccess"
    assert merges(worker) == []
    assert not run.output.exists()


async def test_a_job_that_ends_without_output_pays_for_no_synthesis(tmp_path):
    async def answer(message):
        return result(message, Outcome.BAD_REQUEST if prompt_of(message) == CHUNKS[0] else Outcome.SUCCEEDED)

    job = make_synthesis(step={"maxPartsPerCall": 100}, completion={"onShortfall": "Fail"})
    async with bench(tmp_path) as b, b.worker(answer=answer) as worker:
        run = await b.run(job, CHUNKS)
        await asyncio.sleep(0.02)
    assert run.record.ending.reason == "Shortfall"
    assert merges(worker) == []


class MergesFail(Merger):
    """Merges fail; chunks from the tenth on are never answered."""

    async def __call__(self, message):
        if prompt_of(message).startswith("Merge"):
            return result(message, Outcome.BAD_REQUEST)
        if prompt_of(message) >= "c10":
            await asyncio.Event().wait()
        return result(message)


async def test_a_synthesis_that_fails_while_chunks_are_open_ends_the_job_in_order(tmp_path):
    job = make_synthesis(step={"maxPartsPerCall": 2})
    async with bench(tmp_path) as b, b.worker(answer=MergesFail(), slots=16) as worker:
        run = await b.run(job, CHUNKS, {"small": endpoint(16)})
        async with b.ledger.read() as connection:
            states = await settle.chunk_states(connection, run.record.job)
        await until(lambda: not b.engine.dispatcher.leases)
    assert run.record.ending.reason == "ReduceFailed"
    assert "BadRequest" in run.record.ending.message
    assert Settled.OPEN not in states
    assert sum(states.values()) == run.progress.planned == len(lines(run))
    assert states[Settled.SUCCEEDED] >= 4
    assert states[Settled.SKIPPED] >= 1
    assert worker.cancelled
    assert [line["value"] for line in lines(run)[:4]] == ["C00", "C01", "C02", "C03"]


async def test_a_prompt_that_cannot_be_rendered_fails_the_step(tmp_path):
    async with bench(tmp_path) as b, b.worker(answer=Merger()) as worker:
        run = await b.run(make_synthesis(prompt="Merge: {{ parts }} {{ fail }}"), CHUNKS)
    assert run.record.ending.reason == "ReduceFailed"
    assert "'fail' is undefined" in run.record.ending.message
    assert merges(worker) == []


async def test_a_deadline_that_passes_during_the_synthesis_changes_nothing(tmp_path):
    merger = Merger()
    merger.let_through = 4
    async with bench(tmp_path) as b, b.worker(answer=merger) as worker:
        run = await b.submit(make_synthesis(completion={"deadlineSeconds": 60}), CHUNKS)
        looks = 0
        advance = run._advance

        async def count():
            nonlocal looks
            looks += 1
            await advance()

        run._advance = count
        running = asyncio.create_task(finish(run))
        await until(lambda: len(merges(worker)) == 5)
        run.progress.began -= 100
        run._wake.set()
        before = looks
        await asyncio.sleep(0.1)
        assert looks - before < 5, "it waits, and does not spin"
        (last,) = (message for message in worker.asked if message.call in worker.held)
        await b.broker.publish_report(result(last))
        await running
    assert run.record.ending.reason == "Succeeded"
