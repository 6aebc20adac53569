"""A job with fake workers: leases, silence, answers that come late or twice."""

import asyncio

import msgspec
from engine_jobs import HASTY, bench, endpoint, finish, lines, make_job, until, values
from fake_worker import FakeWorker, prompt_of, result

from fanout.broker.messages import Answer
from fanout.broker.outcome import Outcome
from fanout.ledger import results

ONE = {"small": endpoint(1)}


async def forever(_message):
    await asyncio.Event().wait()


async def dropped(bench_, run):
    async with bench_.ledger.read() as connection:
        return await results.dropped(connection, run.record.job)


async def begin(b, texts, **options):
    """A running job, and its run."""
    run = await b.submit(make_job(**options), texts, ONE)
    return run, asyncio.create_task(finish(run))


async def test_a_silent_workers_calls_are_done_elsewhere(tmp_path):
    async with bench(tmp_path, HASTY) as b, b.worker(answer=forever, slots=1) as silent:
        run, running = await begin(b, ["a", "b"])
        await until(lambda: silent.asked)
        silent.silent = True
        await until(lambda: not b.engine.dispatcher.leases)
        async with b.worker(name="other", slots=1) as other:
            await running
    assert values(run) == ["A", "B"]
    assert len(silent.asked) == 1
    assert len(other.asked) == 2
    assert run.progress.calls["made"] == 3
    assert run.progress.calls["estimated_tokens"] > 0, "nobody told what the lost call cost"


async def test_heartbeats_keep_a_lease_for_as_long_as_the_call_takes(tmp_path):
    async def slow(message):
        await asyncio.sleep(3 * HASTY.lease_seconds)
        return result(message)

    async with bench(tmp_path, HASTY) as b, b.worker(answer=slow) as worker:
        run = await b.run(make_job(), ["a"])
    assert values(run) == ["A"]
    assert len(worker.asked) == 1


async def test_a_lost_call_counts_as_a_failure_and_the_last_one_fails(tmp_path):
    async with bench(tmp_path, HASTY) as b, b.worker(answer=forever) as silent:
        run, running = await begin(b, ["a"], branch={"retry": {"limit": 0}})
        await until(lambda: silent.asked)
        silent.silent = True
        await running
    (line,) = lines(run)
    assert (line["error"]["reason"], line["attempts"]) == ("Lost", 1)


async def begin_redone(b, late, other, **options):
    """A job whose one call is lost at `late` and done again at `other`, which holds it."""
    run, running = await begin(b, ["a"], **options)
    await until(lambda: late.asked)
    late.silent = True
    await until(lambda: not b.engine.dispatcher.leases)
    await other.__aenter__()
    await until(lambda: other.asked)
    return run, running


async def test_a_late_answer_is_accepted_and_the_redone_call_is_called_back(tmp_path):
    async with bench(tmp_path, HASTY) as b, b.worker(answer=forever, slots=1) as late:
        other = b.worker(answer=forever, name="other", slots=1)
        run, running = await begin_redone(b, late, other)
        await b.broker.publish_report(result(late.asked[0], answers=[Answer(value=b'"late"')]))
        await running
        await until(lambda: other.cancelled)
        await until(lambda: not b.engine.dispatcher.leases)
        assert other.cancelled == [other.asked[0].call]
        await other.__aexit__()
    assert values(run) == ["late"]
    assert lines(run)[0]["attempts"] == 1
    # The lost call told its tokens after all; the one made again was cancelled, perhaps after the job's end.
    assert run.progress.calls["estimated_tokens"] == run.progress.calls["made"] - 1
    assert run.progress.calls["input_tokens"] == 10


async def test_and_only_once(tmp_path):
    async with bench(tmp_path, HASTY) as b, b.worker(answer=forever, slots=1) as late:
        other = b.worker(answer=forever, name="other", slots=1)
        run = await b.submit(make_job(), ["a", "b"], ONE)
        running = asyncio.create_task(finish(run))
        await until(lambda: late.asked)
        late.silent = True
        await until(lambda: not b.engine.dispatcher.leases)
        await other.__aenter__()
        await until(lambda: other.asked)
        answer = result(late.asked[0], answers=[Answer(value=b'"late"')])
        await b.broker.publish_report(answer)
        await until(lambda: run.progress.settled == 1)
        await b.broker.publish_report(answer)
        await until(lambda: any(prompt_of(message) == "b" for message in other.asked))
        await b.engine.aggregator.settle()
        assert await dropped(b, run) == 1
        (b_call,) = (message for message in other.asked if prompt_of(message) == "b")
        await b.broker.publish_report(result(b_call))
        await running
        await other.__aexit__()
    assert sorted(values(run)) == ["B", "late"]
    assert run.progress.counts.succeeded == 2


async def test_a_late_failure_does_not_stand_in_the_way_of_the_redone_call(tmp_path):
    bad = Answer(outcome=Outcome.CONTENT_FILTERED, fault="no")
    go_on = asyncio.Event()

    async def held(message):
        await go_on.wait()
        return result(message)

    async with bench(tmp_path, HASTY) as b, b.worker(answer=forever, slots=1) as late:
        other = b.worker(answer=held, name="other", slots=1)
        run, running = await begin_redone(b, late, other)
        await b.broker.publish_report(result(late.asked[0], answers=[bad]))
        await b.engine.aggregator.settle()
        go_on.set()
        await running
        assert other.cancelled == []
        await other.__aexit__()
    assert values(run) == ["A"]


async def test_an_answer_that_comes_with_the_end_of_its_lease_is_not_thrown_away(tmp_path):
    async with bench(tmp_path) as b, b.worker(answer=forever, slots=1) as worker:
        run, running = await begin(b, ["a"])
        await until(lambda: worker.asked)
        message = worker.asked[0]
        b.engine.dispatcher.leases[message.call].expires = 0.0
        b.engine.dispatcher._expire()
        await b.broker.publish_report(result(message))
        await running
    assert values(run) == ["A"]
    assert len(worker.asked) == 1


async def test_an_answer_delivered_twice_counts_once(tmp_path):
    async with bench(tmp_path) as b:
        gate = asyncio.Event()

        async def answer(message):
            if prompt_of(message) == "b":
                await gate.wait()
            else:
                await b.broker.publish_report(result(message))
            return result(message)

        async with FakeWorker(b.broker, answer=answer):
            run = await b.submit(make_job(), ["a", "b"])
            running = asyncio.create_task(finish(run))
            await until(lambda: run.progress.settled == 1)
            await b.engine.aggregator.settle()
            assert await dropped(b, run) == 1
            gate.set()
            await running
    assert values(run) == ["A", "B"]
    assert run.progress.calls["made"] == 2
    assert run.progress.calls["input_tokens"] == 20


async def test_an_answer_that_nobody_asked_for_changes_nothing(tmp_path):
    async with bench(tmp_path) as b:
        gate = asyncio.Event()

        async def answer(message):
            await gate.wait()
            return result(message)

        async with FakeWorker(b.broker, answer=answer, slots=1) as worker:
            run = await b.submit(make_job(), ["a", "b"], ONE)
            running = asyncio.create_task(finish(run))
            await until(lambda: worker.asked)
            sent = worker.asked[0].call
            forged = result(worker.asked[0], answers=[Answer(value=b'"forged"')])
            for call in (1 - sent, 999):  # one that is ready and one that is not there
                await b.broker.publish_report(msgspec.structs.replace(forged, call=call))
            await b.engine.aggregator.settle()
            gate.set()
            await running
    assert values(run) == ["A", "B"]


async def test_a_worker_that_drains_hands_back_what_it_has_not_begun(tmp_path):
    handed = []

    async def answer(message):
        if not handed:
            handed.append(message)
            return result(message, Outcome.NOT_STARTED, sent=False)
        return result(message)

    async with bench(tmp_path) as b, b.worker(answer=answer):
        run = await b.run(make_job(branch={"retry": {"limit": 0}}), ["a", "b"])
    assert values(run) == ["A", "B"]
    assert [line["attempts"] for line in lines(run)] == [1, 1]
    assert run.progress.calls["made"] == 2
