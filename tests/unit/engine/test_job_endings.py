"""A job with a fake worker: stopping before all is answered, and ending in order."""

import asyncio

from engine_jobs import bench, endpoint, finish, frames_of, let_pass, lines, make_job, until
from fake_worker import prompt_of, result, succeed

from fanout.broker.outcome import Outcome
from fanout.ledger import settle
from fanout.ledger.schema import Settled


async def refuse(message):
    return result(message, Outcome.BAD_REQUEST)


async def only_a(message):
    """Answers what begins with a; the rest it holds."""
    if not prompt_of(message).startswith("a"):
        await asyncio.Event().wait()
    return await succeed(message)


async def conserved(b, run):
    """planned = succeeded + failed + skipped, in the ledger, in the figures and in the file."""
    async with b.ledger.read() as connection:
        states = await settle.chunk_states(connection, run.record.job)
    counts = run.progress.counts
    assert (counts.succeeded, counts.failed, counts.skipped) == tuple(
        states.get(state, 0) for state in (Settled.SUCCEEDED, Settled.FAILED, Settled.SKIPPED)
    )
    assert counts.planned == counts.settled == sum(states.values()) == len(lines(run))
    return counts


async def test_abort_when_most_of_it_fails(tmp_path):
    job = make_job(completion={"abort": {"failedPercent": 50, "afterChunks": 10}})
    async with bench(tmp_path) as b, b.worker(answer=refuse) as worker:
        run = await b.run(job, [str(i) for i in range(200)])
        counts = await conserved(b, run)
        await until(lambda: not b.engine.dispatcher.leases)
    assert run.record.ending.reason == "Aborted"
    assert 10 <= counts.failed <= 60
    assert counts.skipped > 0
    assert len(worker.asked) < 100
    assert lines(run)[-1]["error"]["reason"] == "Aborted"


async def test_throttling_never_aborts(tmp_path):
    refusals = iter([True] * 30)

    async def throttled(message):
        return result(message, Outcome.RATE_LIMITED if next(refusals, False) else Outcome.SUCCEEDED)

    job = make_job(completion={"abort": {"failedPercent": 1, "afterChunks": 1}})
    async with bench(tmp_path) as b, b.worker(answer=throttled):
        run = await b.run(job, ["a", "b"])
    assert run.record.ending.reason == "Succeeded"


async def test_the_deadline_ends_a_job_with_what_there_is(tmp_path):
    job = make_job(completion={"deadlineSeconds": 60})
    async with bench(tmp_path) as b, b.worker(answer=only_a) as worker:
        run = await b.submit(job, ["a1", "b1", "a2", "b2"])
        running = asyncio.create_task(finish(run))
        await until(lambda: run.progress.counts.succeeded == 2 and len(worker.asked) == 4)
        let_pass(run, 60)
        await running
        counts = await conserved(b, run)
        await until(lambda: len(worker.cancelled) == 2)
        await until(lambda: not b.engine.dispatcher.leases)
    assert run.record.ending.reason == "DeadlineExceeded"
    assert (counts.succeeded, counts.skipped) == (2, 2)
    assert [line["status"] for line in lines(run)] == ["Succeeded", "Skipped"] * 2
    assert lines(run)[1]["error"]["reason"] == "DeadlineExceeded"


async def test_a_deadline_in_the_midst_of_planning(tmp_path):
    async def stuck(_frame):
        await asyncio.Event().wait()

    job = make_job(completion={"deadlineSeconds": 60})
    async with bench(tmp_path) as b, b.worker():
        run = await b.submit(job, frames_of([f"a{i}" for i in range(30)], between=stuck))
        running = asyncio.create_task(finish(run))
        await until(lambda: run.progress.counts.succeeded == 10)
        let_pass(run, 60)
        await running
        counts = await conserved(b, run)
    assert (counts.planned, counts.succeeded) == (10, 10)
    assert run.record.ending.reason == "DeadlineExceeded"


async def test_stragglers_are_left_behind_once_enough_is_there(tmp_path):
    job = make_job(completion={"partialAfter": {"timeoutSeconds": 1, "successPercent": 60}})
    async with bench(tmp_path) as b, b.worker(answer=only_a):
        run = await b.submit(job, ["a1", "a2", "a3", "b1", "b2"])
        begun = asyncio.get_running_loop().time()
        await finish(run)
        assert asyncio.get_running_loop().time() - begun >= 1.0
        counts = await conserved(b, run)
    assert run.record.ending.reason == "Partial"
    assert (counts.succeeded, counts.skipped) == (3, 2)


async def test_a_shortfall_ends_as_the_policy_says(tmp_path):
    async def picky(message):
        return result(message, Outcome.BAD_REQUEST if prompt_of(message) == "b" else Outcome.SUCCEEDED)

    for name, completion, reason in (
        ("partial", {}, "Partial"),
        ("fail", {"onShortfall": "Fail"}, "Shortfall"),
        ("fine", {"minSuccessPercent": 66, "onShortfall": "Fail"}, "Succeeded"),
    ):
        async with bench(tmp_path) as b, b.worker(answer=picky):
            run = await b.run(make_job(name, completion=completion), ["a", "b", "c"])
            await conserved(b, run)
        assert run.record.ending.reason == reason


async def test_no_success_at_all(tmp_path):
    async with bench(tmp_path) as b, b.worker(answer=refuse):
        run = await b.run(make_job(), ["a", "b"])
        await conserved(b, run)
    assert run.record.ending.reason == "NoSuccess"


async def test_a_job_that_has_ended_stays_ended(tmp_path):
    async with bench(tmp_path) as b, b.worker():
        first = await b.run(make_job(), ["a", "b"])
    async with bench(tmp_path) as b, b.worker() as worker:
        again = await b.run(make_job(), ["a", "b"])
    assert again.record.ending == first.record.ending
    assert again.progress.counts == first.progress.counts
    assert again.progress.calls == first.progress.calls
    assert worker.asked == []


async def test_calls_of_a_job_that_is_over_are_not_sent(tmp_path):
    job = make_job(completion={"abort": {"failedPercent": 50, "afterChunks": 1}})
    async with bench(tmp_path) as b, b.worker(answer=refuse, slots=1) as worker:
        await b.run(job, [str(i) for i in range(50)], {"small": endpoint(1)})
        await until(lambda: not b.engine.dispatcher.leases)
        sent = len(worker.asked)
        other = await b.run(make_job("other"), ["x"], {"small": endpoint(1)})
        assert len(worker.asked) == sent + 1
    assert other.record.ending.reason == "NoSuccess"
