"""An event loop that stood still: a long garbage collection, a machine that slept."""

import asyncio
import time

from engine_jobs import HASTY, bench, endpoint, finish, make_job, until, values
from fake_worker import result


async def test_a_loop_that_stood_still_blames_no_worker(tmp_path):
    answered = asyncio.Event()

    async def slow(message):
        await answered.wait()
        return result(message)

    async with bench(tmp_path, HASTY) as b, b.worker(answer=slow, slots=1) as worker:
        run = await b.submit(make_job(), ["a"], {"small": endpoint(1)})
        running = asyncio.create_task(finish(run))
        await until(lambda: worker.asked)
        time.sleep(3 * HASTY.lease_seconds)  # noqa: ASYNC251 - standing still is the point
        await asyncio.sleep(0.1 * HASTY.lease_seconds)
        assert b.engine.dispatcher.leases, "the worker had no chance to be heard"
        answered.set()
        await running
    assert values(run) == ["A"]
    assert len(worker.asked) == 1
