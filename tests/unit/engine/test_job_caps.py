"""A job with fake workers: how many calls are out at once, and whose."""

import asyncio
from collections import Counter
from dataclasses import replace
from random import Random

from engine_jobs import CALM, bench, endpoint, finish, make_job, until, values
from fake_worker import Meter, prompt_of, result

from fanout.ledger import calls


async def take_a_while(message):
    await asyncio.sleep(0.005)
    return result(message)


async def test_a_job_keeps_to_its_own_parallelism(tmp_path):
    async with bench(tmp_path) as b, b.worker(answer=take_a_while, slots=16) as worker:
        run = await b.run(make_job(map={"parallelism": 3}), [str(i) for i in range(30)], {"small": endpoint(16)})
    assert len(values(run)) == 30
    assert worker.meter.most["small"] == 3


async def test_an_endpoints_concurrency_holds_over_all_workers_and_jobs(tmp_path):
    meter = Meter()
    endpoints = {"small": endpoint(5)}
    async with bench(tmp_path) as b:
        runs = [await b.submit(make_job(name), [f"{name}{i}" for i in range(40)], endpoints) for name in ("a", "b")]
        async with (
            b.worker(answer=take_a_while, slots=4, name="w1", meter=meter),
            b.worker(answer=take_a_while, slots=4, name="w2", meter=meter),
        ):
            await asyncio.gather(*(finish(run) for run in runs))
    assert meter.most["small"] == 5
    assert len(meter.asked) == 80


async def test_no_more_is_sent_than_workers_have_slots(tmp_path):
    async with bench(tmp_path) as b, b.worker(answer=take_a_while, slots=2) as worker:
        await b.run(make_job(), [str(i) for i in range(20)], {"small": endpoint(64)})
        assert worker.meter.most["small"] == 2


async def test_nothing_is_published_that_no_slot_is_free_for(tmp_path):
    """Not even into the queue: a cancelled or reordered call would have to be fetched back from there."""
    async with bench(tmp_path) as b:
        published = []
        publish = b.broker.publish_calls

        async def spy(messages):
            published.extend(messages)
            await publish(messages)

        b.broker.publish_calls = spy
        gate = asyncio.Event()

        async def held(message):
            await gate.wait()
            return result(message)

        async with b.worker(answer=held, slots=3):
            run = await b.submit(make_job(), [str(i) for i in range(20)], {"small": endpoint(64)})
            running = asyncio.create_task(finish(run))
            await until(lambda: len(published) == 3)
            await asyncio.sleep(0.03)
            assert len(published) == 3
            gate.set()
            await running


async def test_large_requests_are_not_read_into_memory_all_at_once(tmp_path, monkeypatch):
    size, at_most, read = 20_000, 100_000, []
    requests = calls.requests

    async def spy(*arguments):
        found = await requests(*arguments)
        read.append(sum(len(request) for request, _ in found.values()))
        return found

    monkeypatch.setattr(calls, "requests", spy)
    texts = [Random(i).randbytes(size).hex() for i in range(60)]  # takes about `size` bytes packed
    settings = replace(CALM, page_bytes=at_most)
    async with bench(tmp_path, settings) as b, b.worker() as worker:
        run = await b.submit(make_job(), texts, {"small": endpoint(2)})
        held = []
        worker.answer = lambda message: _spied(b, held, message)
        await finish(run)
    assert len(values(run)) == 60
    stored = max(held)  # packed
    assert at_most / 2 < stored < at_most + 9 * size
    assert max(read) < at_most + 9 * size
    assert sum(read) < 3 * 60 * size, "and not again and again"


async def _spied(b, held, message):
    held.append(sum(lane.size for queue in b.engine.dispatcher.jobs.values() for lane in queue.lanes))
    return await take_a_while(message)


async def test_two_jobs_share_an_endpoint_alike(tmp_path):
    async with bench(tmp_path) as b:
        runs = [await b.submit(make_job(name), [f"{name}{i}" for i in range(100)]) for name in ("a", "b")]
        running = [asyncio.create_task(finish(run)) for run in runs]
        await until(lambda: all(run.progress.planning_done for run in runs))
        async with b.worker(answer=take_a_while) as worker:
            await asyncio.gather(*running)
    for asked in (20, 50, 100, 150):
        shares = Counter(prompt_of(message)[0] for message in worker.asked[:asked])
        assert abs(shares["a"] - shares["b"]) <= asked * 0.1


async def test_a_job_that_comes_later_does_not_wait_for_the_first_to_end(tmp_path):
    async with bench(tmp_path) as b, b.worker(answer=take_a_while) as worker:
        first = await b.submit(make_job("a"), [f"a{i}" for i in range(100)])
        running = asyncio.create_task(finish(first))
        await until(lambda: len(worker.asked) >= 10)
        second = await b.run(make_job("b"), [f"b{i}" for i in range(10)])
        assert first.progress.settled < 60
        assert len(values(second)) == 10
        await running


async def test_the_longest_go_first_and_in_the_inputs_order_where_that_is_asked_for(tmp_path):
    texts = ["x" * length for length in (3, 50, 7, 20)]
    for order, expected in (("LongestFirst", [50, 20, 7, 3]), ("Input", [3, 50, 7, 20])):
        async with bench(tmp_path) as b:
            run = await b.submit(make_job(order.lower(), map={"order": order}), texts, {"small": endpoint(1)})
            running = asyncio.create_task(finish(run))
            await until(lambda run=run: run.progress.planning_done)
            async with b.worker(slots=1) as worker:
                await running
        assert [len(prompt_of(message)) for message in worker.asked] == expected
        assert values(run) == [text.upper() for text in texts]
