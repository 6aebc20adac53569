"""A job whose engine dies in the middle, and is taken up again: every result once, only calls in flight made twice."""

import asyncio
import contextlib
import functools
from collections import Counter

import msgspec
import pytest
from engine_jobs import bench, endpoint, finish, frames_of, lines, make_item, make_job, until, values
from fake_worker import prompt_of, result, succeed, texts_of

from fanout.broker.messages import Answer
from fanout.broker.outcome import Outcome
from fanout.engine.engine import JobChangedError
from fanout.planning.frames import Finished, Items

TEXTS = [f"text {i}" for i in range(60)]
# Calls that may be made twice after a crash: as many as were in flight, as many whose answers had just arrived and were not
# committed, and as many that had taken their slots.
AT_RISK = 3 * 4


class KilledError(Exception):
    """Stands for the process's end."""


async def slowly(message):
    await asyncio.sleep(0.004)
    return result(message)


async def run_until(folder, job, frames, condition, answer=slowly, **options):
    """Run a job until `condition(run, worker)` holds, then kill the engine. Gives what the worker was asked."""
    with contextlib.suppress(KilledError, ExceptionGroup):
        async with bench(folder) as b, b.worker(answer=answer, **options) as worker:
            run = await b.submit(job, frames)
            running = asyncio.create_task(finish(run))
            try:
                await until(lambda: condition(run, worker))
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            raise KilledError
    return worker.asked


def counted(*asked):
    return Counter(text for messages in asked for message in messages for text in texts_of(message))


@pytest.mark.parametrize("after", [1, 17, 59])
async def test_every_result_once_and_only_calls_in_flight_twice(tmp_path, after):
    before = await run_until(tmp_path, make_job(), TEXTS, lambda run, _worker: run.progress.settled >= after)
    async with bench(tmp_path) as b, b.worker() as worker:
        run = await b.run(make_job(), TEXTS)
    assert values(run) == [text.upper() for text in TEXTS]
    made = counted(before, worker.asked)
    assert set(made) == set(TEXTS)
    assert max(made.values()) <= 2
    assert sum(made.values()) <= len(TEXTS) + AT_RISK
    assert run.progress.counts.succeeded == len(TEXTS)
    assert run.record.ending.reason == "Succeeded"


async def test_killed_again_and_again(tmp_path):
    asked = []
    for step in range(8):
        goal = 7 * (step + 1)
        condition = lambda run, _worker, goal=goal: run.progress.settled >= goal  # noqa: E731
        asked.append(await run_until(tmp_path, make_job(), TEXTS, condition))
    async with bench(tmp_path) as b, b.worker() as worker:
        run = await b.run(make_job(), TEXTS)
    assert values(run) == [text.upper() for text in TEXTS]
    assert sum(counted(*asked, worker.asked).values()) <= len(TEXTS) + 8 * AT_RISK


async def test_in_the_midst_of_planning(tmp_path):
    async def stuck(frame):
        if frame == 3:
            await asyncio.Event().wait()

    frames = frames_of(TEXTS, between=stuck)
    before = await run_until(tmp_path, make_job(), frames, lambda run, _worker: run.progress.settled >= 25)
    assert len(counted(before)) <= 30
    async with bench(tmp_path) as b, b.worker() as worker:
        run = await b.run(make_job(), TEXTS)
    assert values(run) == [text.upper() for text in TEXTS]
    assert sum(counted(before, worker.asked).values()) <= len(TEXTS) + AT_RISK


async def test_tasks_that_waited_for_company_in_a_batch_get_it(tmp_path):
    async def stuck(_frame):
        await asyncio.Event().wait()

    job = make_job(branch={"batch": {"maxItems": 4}})
    frames = frames_of(TEXTS, between=stuck)  # 10 planned: two calls of four, and two left over
    before = await run_until(tmp_path, job, frames, lambda run, _worker: run.progress.settled >= 8)
    async with bench(tmp_path) as b, b.worker() as worker:
        run = await b.run(job, TEXTS)
    assert values(run) == [text.upper() for text in TEXTS]
    assert [len(texts_of(message)) for message in before] == [4, 4]
    assert Counter(len(texts_of(message)) for message in worker.asked) == {4: 13}


async def test_a_large_item_is_planned_on_from_the_chunk_it_had_come_to(tmp_path):
    def part(first, last, *, more):
        chunks = [msgspec.structs.replace(make_item(i, f"part {i}").chunks[0], index=i) for i in range(first, last)]
        return Items(items=[msgspec.structs.replace(make_item(0, "document"), chunks=chunks, more=more)])

    async def whole():
        yield part(0, 3, more=True)
        yield part(3, 6, more=True)
        yield part(6, 8, more=False)
        yield Finished(items=1)

    async def cut_off():
        yield part(0, 3, more=True)
        yield part(3, 6, more=True)
        await asyncio.Event().wait()

    await run_until(tmp_path, make_job(), cut_off, lambda run, _worker: run.progress.settled == 6)
    async with bench(tmp_path) as b, b.worker() as worker:
        run = await b.run(make_job(), whole)
    assert values(run) == [f"PART {i}" for i in range(8)]
    assert [line["chunk"] for line in lines(run)] == list(range(8))
    assert sorted(counted(worker.asked)) == ["part 6", "part 7"]


async def test_a_large_item_with_a_taken_id_stays_refused(tmp_path):
    def part(position, first, last, *, more):
        chunks = [msgspec.structs.replace(make_item(i, f"part {i}").chunks[0], index=i) for i in range(first, last)]
        item = msgspec.structs.replace(make_item(position, "document"), id="same", chunks=chunks, more=more)
        return Items(items=[item])

    async def whole(*, stuck=False):
        yield part(0, 0, 2, more=False)
        yield part(1, 0, 2, more=True)
        if stuck:
            await asyncio.Event().wait()
        yield part(1, 2, 4, more=True)
        yield part(1, 4, 6, more=False)
        yield Items(items=[make_item(2, "last")])
        yield Finished(items=3)

    cut_off = functools.partial(whole, stuck=True)
    await run_until(tmp_path, make_job(), cut_off, lambda run, _worker: run.progress.settled == 3)
    async with bench(tmp_path) as b, b.worker():
        run = await b.run(make_job(), whole)
    assert [(line["item"], line["status"]) for line in lines(run)] == [
        ("same", "Succeeded"),
        ("same", "Succeeded"),
        ("position:1", "Failed"),
        ("2", "Succeeded"),
    ]
    assert lines(run)[2]["error"]["reason"] == "DuplicateId"


async def test_an_input_that_changed_is_noticed(tmp_path):
    async def stuck(_frame):
        await asyncio.Event().wait()

    frames = frames_of(TEXTS, between=stuck)
    await run_until(tmp_path, make_job(), frames, lambda run, _worker: run.progress.settled == 10)
    for changed in (["changed", *TEXTS[1:]], TEXTS[:5]):
        async with bench(tmp_path) as b, b.worker():
            run = await b.submit(make_job(), changed)
            ending = await finish(run)
        assert ending.reason == "InputFailed"
        assert "the input changed" in ending.message
        assert run.record.ending is None, "the job may go on with the right input"
    async with bench(tmp_path) as b, b.worker():
        assert values(await b.run(make_job(), TEXTS)) == [text.upper() for text in TEXTS]


async def test_a_job_with_another_plan_is_refused_and_one_with_other_limits_is_not(tmp_path):
    await run_until(tmp_path, make_job(), TEXTS, lambda run, _worker: run.progress.settled > 3)
    async with bench(tmp_path) as b:
        with pytest.raises(JobChangedError, match=r"spec\.map\.branches\[0\]\.chat\.prompt differs"):
            await b.submit(make_job(branch={"chat": {"prompt": "Label: {{ chunk.text }}"}}), TEXTS)
    async with bench(tmp_path) as b, b.worker(slots=16) as worker:
        job = make_job(map={"parallelism": 2}, completion={"minSuccessPercent": 50})
        run = await b.run(job, TEXTS, {"small": endpoint(16)})
    assert worker.meter.most["small"] <= 2
    assert run.record.ending.reason == "Succeeded"


async def test_calls_that_wait_are_all_sent_when_their_time_has_come(tmp_path):
    """Each of them has another time, and nothing else happens meanwhile that would make the dispatcher look."""

    async def fail(message):
        return result(message, Outcome.SERVER_ERROR)

    async def run_one(b):
        b.engine.dispatcher.random = b.engine.aggregator._random = Later()
        return await b.submit(make_job(branch={"retry": {"limit": 1}}), TEXTS[:4])

    class Later:
        """0.3, 0.6, 0.9, 1.2 seconds."""

        def __init__(self):
            self.waits = iter([0.3, 0.6, 0.9, 1.2])

        def uniform(self, _a, _b):
            return next(self.waits)

    async with bench(tmp_path) as b, b.worker(answer=fail) as worker:
        run = await run_one(b)
        running = asyncio.create_task(finish(run))
        await until(lambda: run.progress.calls["made"] == 4)
        await b.engine.aggregator.settle()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    async with bench(tmp_path) as b, b.worker() as worker:
        begun = asyncio.get_running_loop().time()
        run = await b.run(make_job(branch={"retry": {"limit": 1}}), TEXTS[:4])
        assert asyncio.get_running_loop().time() - begun < 2.0
    assert len(worker.asked) == 4
    assert values(run) == [text.upper() for text in TEXTS[:4]]


async def test_the_figures_of_both_runs_add_up(tmp_path):
    failing = {f"text {i}" for i in range(0, 60, 6)}

    async def answer(message):
        if prompt_of(message) in failing:
            failing.discard(prompt_of(message))
            return result(message, Outcome.SERVER_ERROR)
        return await slowly(message)

    before = await run_until(tmp_path, make_job(), TEXTS, lambda run, _worker: run.progress.settled > 20, answer)
    async with bench(tmp_path) as b, b.worker(answer=answer) as worker:
        run = await b.run(make_job(), TEXTS)
    # A call that was about to go out when the engine died may have gone out: it is counted, as the one at risk it is.
    about_to_go = run.progress.calls["made"] - len(before) - len(worker.asked)
    assert 0 <= about_to_go <= 4
    assert 10 - AT_RISK <= run.progress.calls["retried"] <= 10  # a failure that was not committed is not known
    assert run.progress.calls["input_tokens"] == 10 * len(TEXTS)
    assert sum(line["usage"]["inputTokens"] for line in lines(run)) == 10 * len(TEXTS)
    lost = run.progress.calls["made"] - len(TEXTS) - run.progress.calls["retried"]
    assert 0 <= lost <= AT_RISK
    assert 6 * lost <= run.progress.calls["estimated_tokens"] <= 7 * lost  # nobody told what they cost


async def test_first_is_resumed_with_what_was_given_up(tmp_path):
    async def late(message):
        await asyncio.sleep(0.02)
        return result(message, answers=[Answer(value=b'"late"')])

    branches = [
        {"name": name, "endpoints": [name], "chat": {"prompt": "{{ chunk.text }}"}} for name in ("small", "backup")
    ]
    job = make_job(branches=branches, combine={"by": "First"})
    with contextlib.suppress(ExceptionGroup):
        async with bench(tmp_path) as b, b.worker("small"), b.worker("backup", late):
            run = await b.submit(job, TEXTS)
            running = asyncio.create_task(finish(run))
            await until(lambda: run.progress.settled >= 20)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            raise KilledError
    async with bench(tmp_path) as b, b.worker("small", succeed), b.worker("backup", late):
        run = await b.run(job, TEXTS)
    assert run.progress.counts.succeeded == len(TEXTS)
    assert {value.lower() for value in values(run)} <= {*TEXTS, "late"}
